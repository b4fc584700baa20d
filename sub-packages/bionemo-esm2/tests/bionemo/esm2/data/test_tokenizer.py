# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import random

import numpy as np
import pytest

from bionemo.core.errors import ConfigError, DataError
from bionemo.esm2.data.tokenizer import (
    VOCABULARY,
    BioNeMoESMTokenizer,
    RandomMaskStrategy,
    get_tokenizer,
    save_tokenizer,
)


PIECES = [*VOCABULARY, "<", "J", "*", "a", "k", " ", "\n", "\u2009", "é", *"ACDEFGHIKLMNPQRSTVWYXBUZO"]


def test_ids_of_the_published_vocabulary():
    tokenizer = get_tokenizer()
    assert tokenizer.vocab_size == 33
    assert tokenizer.encode("MKTAYC") == [0, 20, 15, 11, 5, 19, 23, 2]
    assert tokenizer.encode("") == [0, 2]
    assert tokenizer.encode("XBUZO.-", add_special_tokens=False) == [24, 25, 26, 27, 28, 29, 30]
    assert tokenizer.encode("MK <mask>\nA<null_1>") == [0, 20, 15, 32, 5, 31, 2]
    assert sorted(tokenizer.all_special_ids) == [0, 1, 2, 3, 32]
    assert "".join(VOCABULARY[i] for i in tokenizer.amino_acid_ids) == "LAGVSERTIDPKQNFYMHWC"
    assert tokenizer.encode_array("MK").dtype == np.uint8
    assert get_tokenizer() is get_tokenizer()


def test_equal_to_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    save_tokenizer(tmp_path)
    theirs = transformers.EsmTokenizer.from_pretrained(tmp_path)
    ours = get_tokenizer("hf")
    assert theirs.get_vocab() == ours.get_vocab()
    assert sorted(theirs.all_special_ids) == sorted(ours.all_special_ids)
    assert type(transformers.AutoTokenizer.from_pretrained(tmp_path)) is transformers.EsmTokenizer
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(rng.choices(PIECES, k=rng.randrange(12)))
        assert ours.encode(text) == theirs.encode(text), text
    batch = theirs(["MKT", "A"], padding=True)
    assert ours(["MKT", "A"]) == {key: batch[key] for key in ("input_ids", "attention_mask")}


# What transformers 5.23 and 4.57.6 give, so that the mode is checked where transformers is not installed.
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("MKJJA", [0, 20, 15, 3, 5, 2]),
        ("mkta", [0, 3, 2]),
        ("JJ JJ", [0, 3, 3, 2]),
        ("a<mask>b", [0, 3, 32, 3, 2]),
        ("<pa", [0, 3, 2]),
        ("A\xa0J", [0, 5, 3, 2]),
    ],
)
def test_runs_of_unknown_characters_as_transformers_reads_them(text, ids):
    assert get_tokenizer("hf").encode(text) == ids


def test_one_unk_for_each_residue():
    assert get_tokenizer("per_residue").encode("MKJJa*A") == [0, 20, 15, 3, 3, 3, 3, 5, 2]


@pytest.mark.parametrize(("text", "character", "position"), [("MKJA", "J", 3), ("<mask>mk", "m", 7), ("Mé", "é", 2)])
def test_strict_names_the_character(text, character, position):
    with pytest.raises(DataError, match=f"Character '{character}' at position {position} is no token"):
        get_tokenizer().encode(text)


def test_lower_case_on_request():
    tokenizer = get_tokenizer(upper_case=True)
    assert tokenizer.encode("mk<mask>tA") == get_tokenizer().encode("MK<mask>TA")
    with pytest.raises(DataError, match="'J' at position 2"):
        tokenizer.encode("mj")


def test_text_round_trip():
    tokenizer = get_tokenizer()
    ids = tokenizer.encode("MK<mask>XA")
    assert tokenizer.decode(ids) == "<cls>MK<mask>XA<eos>"
    assert tokenizer.decode(np.array(ids), skip_special_tokens=True) == "MKXA"
    assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize("MK<mask>")) == [20, 15, 32]
    with pytest.raises(DataError, match="Do not recognize ID 33"):
        tokenizer.decode([33])
    with pytest.raises(DataError, match="Do not recognize token 'J'"):
        tokenizer.convert_tokens_to_ids(["J"])
    assert get_tokenizer("hf").convert_tokens_to_ids(["J"]) == [3]


def test_batches_of_arrays_and_tensors():
    batch = get_tokenizer()(["MKT", "A"], return_tensors="np")
    np.testing.assert_array_equal(batch["input_ids"], [[0, 20, 15, 11, 2], [0, 5, 2, 1, 1]])
    np.testing.assert_array_equal(batch["attention_mask"], [[1] * 5, [1, 1, 1, 0, 0]])
    tensors = get_tokenizer()("A", return_tensors="pt")
    assert tensors["input_ids"].tolist() == [[0, 5, 2]]
    assert get_tokenizer()(["MKT", "A"], padding=False)["input_ids"] == [[0, 20, 15, 11, 2], [0, 5, 2]]


def test_random_token_ranges():
    assert RandomMaskStrategy("ordinary_tokens").token_ids == range(4, 31)
    assert RandomMaskStrategy("all_tokens").token_ids == range(33)
    assert RandomMaskStrategy("amino_acids_only").token_ids == range(4, 24)


def test_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="unknown must be 'error', 'per_residue' or 'hf', found 'x'"):
        BioNeMoESMTokenizer("x")


def test_saved_files(tmp_path):
    save_tokenizer(tmp_path)
    assert (tmp_path / "vocab.txt").read_text().split() == list(VOCABULARY)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["tokenizer_class"] == "EsmTokenizer"
    assert json.loads((tmp_path / "special_tokens_map.json").read_text())["mask_token"] == "<mask>"
