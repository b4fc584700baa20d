# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.core.errors import DataError
from bionemo.geneformer.data.gene_mapping import (
    GeneResolver,
    build_gene_table,
    choose_id_column,
    number_columns,
    without_version,
)


TP53, MYC, ACTB = "ENSG00000141510", "ENSG00000136997", "ENSG00000075624"
NAMES = {"TP53": TP53, "MYC": MYC, "LOST": "ENSG00000000001"}


def resolver(**mapping):
    return GeneResolver({TP53, MYC, ACTB}, gene_names=NAMES, gene_mapping=mapping)


@pytest.mark.parametrize(
    ("gene", "expected"),
    [
        (TP53, TP53),
        (f" {TP53} ", TP53),
        (f"{TP53}.18", TP53),
        ("ensg00000141510.2", TP53),
        ("TP53", TP53),
        ("tp53", None),
        ("Trp53", None),
        ("LOST", None),
        ("RP11-34P13.7", None),
        ("ENSG00000141510.18_PAR_Y", None),
        ("", None),
    ],
)
def test_what_an_identifier_stands_for(gene, expected):
    assert resolver().resolve(gene) == expected


def test_a_mapping_comes_first_and_may_name_symbols_or_ids():
    mapped = resolver(Trp53="TP53", ENSMUSG00000059552=f"{MYC}.3", TP53="MYC", gone="nothing")
    assert mapped.resolve("Trp53") == TP53
    assert mapped.resolve("ENSMUSG00000059552.4") == MYC
    assert mapped.resolve("TP53") == MYC
    assert mapped.resolve("gone") is None
    assert mapped.count(["Trp53", "gone", ACTB]) == 2


def test_symbols_that_look_like_versions_stay():
    assert without_version("AC012345.1") == "AC012345.1"
    assert without_version("ENSMUSG00000059552.4") == "ENSMUSG00000059552"
    assert without_version("ENS.1") == "ENS.1"


def test_the_column_with_most_known_genes_is_chosen_the_surest_among_equals():
    columns = {"index": ["TP53", "x", "y"], "gene_ids": [TP53, MYC, "y"], "feature_id": [MYC, TP53, "z"]}
    assert choose_id_column(columns, resolver(), "data") == "feature_id"
    assert choose_id_column(columns, resolver(), "data", requested="index") == "index"
    assert choose_id_column({"odd": [TP53], "index": ["1"]}, resolver(), "data") == "odd"
    with pytest.raises(DataError, match=r"data: no gene column 'nope', found \['feature_id', 'gene_ids', 'index'\]"):
        choose_id_column(columns, resolver(), "data", requested="nope")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"index": ["ENSMUSG00000059552", "x"]}, "genes of mouse, such as ENSMUSG00000059552.*--gene-mapping"),
        ({"index": ["ENSDARG00000059552.2"]}, "genes of zebrafish"),
        ({"index": ["ENSXXXG00000059552"]}, r"another species \(ENSXXXG\)"),
        ({"index": ["Actb", "Trp53", "Gapdh", "mt-Nd1"]}, "look like symbols of mouse genes"),
        ({"index": ["EGFR", "KRAS", "A1BG"]}, "'index' holds EGFR, KRAS, A1BG. Expected Ensembl ids .*--gene-names"),
        ({"index": ["0", "1"]}, "Expected Ensembl ids"),
        ({}, "has no column of names"),
    ],
)
def test_why_no_gene_is_known(columns, message):
    known = GeneResolver({TP53}, gene_names={}, gene_mapping={})
    with pytest.raises(DataError, match=message):
        choose_id_column(columns, known, "data")


def test_a_gene_table_tells_what_it_leaves_out_and_adds():
    columns = {"index": ["TP53", "x", TP53, "MYC", "LOST"]}
    table = build_gene_table(columns, resolver(), "data")
    assert table.genes == [TP53, None, TP53, MYC, None]
    assert (table.dropped, table.num_summed, table.num_known, table.id_column) == (["x", "LOST"], 1, 3, "index")
    with pytest.raises(
        DataError, match=rf"gene {TP53} has two columns, 'TP53' \(number 0\) and '{TP53}' \(number 2\)"
    ):
        build_gene_table(columns, resolver(), "data", sum_duplicates=False)


def test_columns_are_numbered_over_all_tables():
    tables = [build_gene_table({"index": names}, resolver(), "data") for names in (["MYC", "x"], [ACTB, "TP53", TP53])]
    columns = number_columns(tables, {TP53: 7, MYC: 5})
    np.testing.assert_array_equal(columns.gene_idx, [5, -1, -1, 7, 7])
    assert columns.gene_idx.dtype == np.int32
    assert (columns.offsets.tolist(), columns.has_duplicates) == ([0, 2, 5], True)
    assert not number_columns(tables[:1], {TP53: 7, MYC: 5}).has_duplicates
