# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import collections
import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from bionemo.core.errors import ChecksumError, DataError, FormatError, MissingFileError
from bionemo.geneformer.data.dictionaries import (
    convert_dictionary,
    load_dictionaries,
    read_dictionary,
    read_gene_medians,
    read_text_dictionary,
    read_tokenizer,
)
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V1, V2


SHARED = Path(__file__).parents[6] / "../shared/data"
TOKENS = {"<pad>": 0, "<mask>": 1, "ENSG01": 2, "ENSG02": 3, "ENSG03": 4}
MEDIANS = {"ENSG01": 0.5, "ENSG02": 2.0, "ENSG03": 1.0}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_numpy_scalars_are_read_as_plain_numbers(tmp_path, protocol):
    content = {"ENSG01": np.int16(7), "ENSG02": np.float64(0.25), "x": 3, "y": "text", "z": np.float32(1.5)}
    content |= {"big": np.dtype(">i4").type(5), "swapped": np.array(258, dtype=">i2")[()]}
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(content, protocol))
    found = read_dictionary(tmp_path / "d.pkl")
    assert found == {"ENSG01": 7, "ENSG02": 0.25, "x": 3, "y": "text", "z": 1.5, "big": 5, "swapped": 258}
    assert {type(value) for value in found.values()} == {int, float, str}


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize(
    "content",
    [
        {"a": Evil()},
        {"a": np.arange(3)},
        collections.OrderedDict(a=1),
        {"a": np.datetime64("2020-01-01")},
        {"a": {1, Evil}},
    ],
    ids=["command", "array", "other class", "date", "class"],
)
def test_pickles_of_anything_else_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    Path("d.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(FormatError, match=r"d\.pkl: not read as a pickled dictionary"):
        read_dictionary("d.pkl")
    assert not Path("evil").exists()


def test_damaged_pickles_are_refused(tmp_path):
    whole = pickle.dumps({"ENSG01": np.float64(0.25), "ENSG02": np.int16(3)})
    rng = np.random.default_rng(0)
    for cut in range(len(whole)):
        damaged = bytearray(whole)
        damaged[cut] ^= int(rng.integers(1, 256))
        for data in (whole[:cut], bytes(damaged)):
            (tmp_path / "d.pkl").write_bytes(data)
            try:
                assert isinstance(read_dictionary(tmp_path / "d.pkl"), dict)
            except FormatError:
                pass
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(FormatError, match="holds a list, expected a dictionary"):
        read_dictionary(tmp_path / "list.pkl")


def test_converted_dictionaries_have_a_digest_that_is_checked(tmp_path):
    (tmp_path / "d.pkl").write_bytes(pickle.dumps({"ENSG01": np.float64(0.1), "ENSG02": np.float64(2)}))
    for name in ("d.json", "d.json.gz"):
        convert_dictionary(tmp_path / "d.pkl", tmp_path / name)
        assert read_gene_medians(tmp_path / name) == {"ENSG01": 0.1, "ENSG02": 2.0}
    digest = (tmp_path / "d.json.sha256").read_text()
    assert digest.endswith("  d.json\n")
    (tmp_path / "d.json").write_text((tmp_path / "d.json").read_text().replace("0.1", "0.2"))
    with pytest.raises(ChecksumError, match=r"d\.json: differs from the digest in d\.json\.sha256"):
        read_dictionary(tmp_path / "d.json")


def test_the_dictionaries_of_a_model(tmp_path):
    tokens, medians = write(tmp_path / "t.json", TOKENS), write(tmp_path / "m.json", MEDIANS)
    names, mapping = write(tmp_path / "n.json", {"TP53": "ENSG01"}), write(tmp_path / "g.json", {"Trp53": "TP53"})
    loaded = load_dictionaries(tokens, medians, gene_names=names, gene_mapping=mapping, variant=V1)
    assert loaded.tokenizer.vocab == TOKENS
    assert loaded.tokenizer.gene_to_ens == {"TP53": "ENSG01"}
    assert (loaded.medians, loaded.gene_mapping) == (MEDIANS, {"Trp53": "TP53"})
    loaded.tokenizer.save_vocab(tmp_path / "geneformer.vocab.json")
    again = read_tokenizer(tmp_path / "geneformer.vocab.json")
    assert (again.fingerprint, again.gene_to_ens) == (loaded.tokenizer.fingerprint, {"TP53": "ENSG01"})


def test_dictionaries_of_different_versions_are_refused(tmp_path):
    tokens, medians = write(tmp_path / "t.json", TOKENS), write(tmp_path / "m.json", MEDIANS)
    with pytest.raises(DataError, match=r"t\.json: has the special tokens of V1, but --model V2 was asked for"):
        load_dictionaries(tokens, medians, variant=V2)
    others = write(tmp_path / "o.json", {"ENSG01": 1.0, "ENSG77": 1.0})
    with pytest.raises(
        DataError, match=r"o\.json: has medians of 1 of the 3 genes in .*t\.json. .* different versions"
    ):
        load_dictionaries(tokens, others)


@pytest.mark.parametrize("median", [0, -1.0, "x", None, True, float("nan"), float("inf")])
def test_medians_are_numbers_above_zero(tmp_path, median):
    path = write(tmp_path / "m.json", {"ENSG01": median})
    with pytest.raises(DataError, match="gene 'ENSG01' has the median"):
        read_gene_medians(path)


def test_files_that_hold_something_else(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_dictionary(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.json.gz").write_bytes(gzip.compress(b"{}")[:9])
    for name in ("bad.json", "bad.json.gz"):
        with pytest.raises(FormatError, match="not read as JSON"):
            read_dictionary(tmp_path / name)
    with pytest.raises(FormatError, match="holds a list, expected an object"):
        read_dictionary(write(tmp_path / "list.json", [1]))
    with pytest.raises(FormatError, match=r"token 'ENSG01' has the id 2\.0, expected a whole number"):
        read_tokenizer(write(tmp_path / "t.json", TOKENS | {"ENSG01": 2.0}))
    with pytest.raises(DataError, match=r"t\.json: The ids of the vocabulary must be 0 to 4"):
        read_tokenizer(write(tmp_path / "t.json", TOKENS | {"ENSG01": 9}))
    with pytest.raises(DataError, match="'a' is mapped to 1, expected text to text"):
        read_text_dictionary(write(tmp_path / "n.json", {"a": 1}))


@pytest.mark.skipif(not SHARED.exists(), reason="the released dictionaries are not beside the project")
def test_the_released_v1_dictionaries():
    tokenizer, medians, _ = load_dictionaries(
        SHARED / "geneformer_v1_token_dictionary.json.gz",
        SHARED / "geneformer_v1_gene_medians.json.gz",
        gene_names=SHARED / "geneformer_v1_gene_name_to_ensembl.json.gz",
        variant=V1,
    )
    assert (tokenizer.vocab_size, len(medians), len(tokenizer.gene_to_ens)) == (25_426, 25_424, 40_248)
    assert sum(ensembl_id in tokenizer.vocab for ensembl_id in tokenizer.gene_to_ens.values()) == 21_245
    genes = sorted(gene for gene in tokenizer.vocab if gene.startswith("ENS"))
    assert [tokenizer.vocab[gene] for gene in genes] == list(range(2, 25_426))
    ours = GeneTokenizer.from_medians_and_genes_dicts(medians, {})  # BioNeMo's tokens: V1's plus 3
    assert all(ours.vocab[gene] == tokenizer.vocab[gene] + 3 for gene in genes)
