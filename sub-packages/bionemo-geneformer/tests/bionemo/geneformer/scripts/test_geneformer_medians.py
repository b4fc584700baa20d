# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from bionemo.core._config_parser import build_parser
from bionemo.geneformer.data.dictionaries import load_dictionaries
from bionemo.geneformer.medians_config import GeneformerMediansConfig
from bionemo.geneformer.scripts.geneformer_medians import main
from bionemo.geneformer.tokenizer.variants import V2
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.testing.cells import make_cells


FLAGS = """
--counts-layer --feature-type
--data-path --output-path --save-token-dictionary --model --token-dictionary --gene-mapping --gene-names --gene-column
--layer --any-gene-ids --no-any-gene-ids --min-cells --allow-fractional-counts --no-allow-fractional-counts
--max-memory-mb --overwrite --no-overwrite --config --debug --version --help -h
"""
CELLS = make_cells(80, 30, seed=5)


@pytest.fixture
def files(tmp_path):
    adata = CELLS.to_anndata()
    adata[:50].copy().write_h5ad(tmp_path / "a.h5ad")
    adata[50:].copy().write_h5ad(tmp_path / "b.h5ad")
    SingleCellMemMapDataset.from_h5ad(tmp_path / "b.h5ad", tmp_path / "b", use_X_not_raw=True)
    return tmp_path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def expected():
    dense = CELLS.counts.toarray().astype(np.float64)
    values = dense / dense.sum(axis=1, keepdims=True) * 10_000
    return {gene: float(np.median(column[column > 0])) for gene, column in zip(CELLS.gene_ids, values.T, strict=True)}


def test_flags_are_the_golden_list():
    parser = build_parser(GeneformerMediansConfig)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


def test_files_and_archives_together_and_a_vocabulary_of_their_genes(files, capsys):
    output, tokens = files / "medians.json", files / "tokens.json"
    arguments = (
        "--data-path",
        files / "a.h5ad",
        files / "b",
        "--output-path",
        output,
        "--save-token-dictionary",
        tokens,
    )
    assert run(*arguments) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert json.loads(output.read_text()) == pytest.approx(expected(), rel=1e-15)
    loaded = load_dictionaries(tokens, output, variant=V2)
    assert list(loaded.tokenizer.vocab) == ["<pad>", "<mask>", "<cls>", "<eos>", *sorted(CELLS.gene_ids)]
    assert run(*arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(*arguments, "--overwrite") == 0


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--model", "V1"), "--model belongs to --save-token-dictionary"),
        (("--any-gene-ids", "--token-dictionary", "x.json"), "exclude each other"),
        (("--min-cells", 0), "--min-cells 0: expected at least 1"),
        (("--min-cells", 81), "No gene has a count in at least 81 cells"),
        (("--gene-column", "x"), "no gene column 'x'"),
        (("--layer", "raw"), "no matrix 'raw'"),
        (("--token-dictionary", "none.json"), "none.json: there is no such file"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_leaves_nothing(files, capsys, extra, message):
    assert run("--data-path", files / "a.h5ad", "--output-path", files / "medians.json", *extra) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (files / "medians.json").exists()
