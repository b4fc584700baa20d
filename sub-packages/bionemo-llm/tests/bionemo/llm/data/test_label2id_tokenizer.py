# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from bionemo.llm.data.label2id_tokenizer import Label2IDTokenizer


def test_characters_and_whole_labels():
    tokenizer = Label2IDTokenizer().build_vocab(["HEC", "CH"])
    assert tokenizer.vocab_size == 3
    assert tokenizer.text_to_ids("CEH") == [2, 1, 0]
    assert tokenizer.ids_to_text([2, 1, 0]) == "CEH"
    tokenizer.build_vocab([["nucleus", "H"]])
    assert tokenizer.text_to_ids(["nucleus", "H"]) == [3, 0]
    assert tokenizer.ids_to_tokens([3]) == ["nucleus"]


def test_unknown_labels_and_ids_are_named():
    tokenizer = Label2IDTokenizer().build_vocab(["HE"])
    with pytest.raises(ValueError, match="Do not recognize token 'C'"):
        tokenizer.text_to_ids("HC")
    with pytest.raises(ValueError, match=r"Do not recognize ID 2\. Ids go from 0 to 1"):
        tokenizer.ids_to_tokens([0, 2])
