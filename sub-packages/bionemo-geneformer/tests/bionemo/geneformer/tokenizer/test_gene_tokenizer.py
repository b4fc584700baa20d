# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from bionemo.core.errors import BionemoError, ConfigError, FormatError
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.label2id_tokenizer import Label2IDTokenizer
from bionemo.geneformer.tokenizer.variants import BIONEMO, V1, V2, find_variant


MEDIANS = {"ENSG03": 1.5, "ENSG01": 0.2, "ENSG02": 9.0}
SYMBOLS = {"TP53": "ENSG01", "MYC": "ENSG03", "OTHER": "ENSG99"}


def build(variant=BIONEMO):
    return GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, SYMBOLS, variant=variant)


def test_ids_follow_the_special_tokens_and_the_order_of_the_medians():
    tokenizer = build()
    assert tokenizer.vocab == {
        "[CLS]": 0, "[MASK]": 1, "[PAD]": 2, "[SEP]": 3, "[UKW]": 4, "ENSG03": 5, "ENSG01": 6, "ENSG02": 7,
    }  # fmt: skip
    assert (tokenizer.class_id, tokenizer.mask_token_id, tokenizer.pad_id, tokenizer.eos_id) == (0, 1, 2, None)
    assert tokenizer.all_special_ids == [0, 1, 2, 3, 4]
    assert (tokenizer.gene_token_ids, tokenizer.vocab_size) == (range(5, 8), 8)
    assert tokenizer.tokens_to_ids(["ENSG02", "[CLS]"]) == [7, 0]
    assert tokenizer.ids_to_tokens([6, 1]) == ["ENSG01", "[MASK]"]
    assert (tokenizer.token_to_id("ENSG01"), tokenizer.token_to_id("ENSG99")) == (6, None)
    assert isinstance(tokenizer, Label2IDTokenizer)


def test_the_special_tokens_tell_the_variant():
    assert (build().variant, build(V1).variant, build(V2).variant) == (BIONEMO, V1, V2)
    v1, v2 = build(V1), build(V2)
    assert (v1.pad_id, v1.mask_token_id, v1.class_id, v1.eos_id, v1.gene_token_ids) == (0, 1, None, None, range(2, 5))
    assert (v2.pad_id, v2.mask_token_id, v2.class_id, v2.eos_id, v2.gene_token_ids) == (0, 1, 2, 3, range(4, 7))
    assert (v1.variant.num_framing_tokens, v2.variant.num_framing_tokens, BIONEMO.num_framing_tokens) == (0, 2, 1)


def test_symbols_and_ensembl_ids_translate_both_ways():
    tokenizer = build()
    assert tokenizer.gene_tok_to_ens("TP53") == "ENSG01"
    assert tokenizer.ens_tok_to_gene("ENSG03") == "MYC"
    assert tokenizer.genes_to_enss(["MYC", "TP53"]) == ["ENSG03", "ENSG01"]
    assert tokenizer.enss_to_genes(["ENSG99"]) == ["OTHER"]
    for convert, name in ((tokenizer.genes_to_enss, "XYZ"), (tokenizer.enss_to_genes, "ENSG02")):
        with pytest.raises(ValueError, match=f"^{name} not found$"):
            convert([name])


def test_a_saved_vocabulary_comes_back(tmp_path):
    tokenizer = build(V2)
    tokenizer.save_vocab(tmp_path / "geneformer.vocab")
    assert json.loads((tmp_path / "geneformer.vocab").read_text()) == {
        "vocab": tokenizer.vocab,
        "gene_to_ens": SYMBOLS,
    }
    again = GeneTokenizer.from_vocab_file(tmp_path / "geneformer.vocab")
    assert (again.vocab, again.gene_to_ens, again.variant) == (tokenizer.vocab, SYMBOLS, V2)
    assert again.fingerprint == tokenizer.fingerprint != build(V1).fingerprint


def test_the_fingerprint_is_of_ids_not_of_the_order_of_the_file():
    tokenizer = build()
    shuffled = GeneTokenizer(dict(reversed(tokenizer.vocab.items())), {})
    assert shuffled.fingerprint == tokenizer.fingerprint
    swapped = tokenizer.vocab | {"ENSG03": 6, "ENSG01": 5}
    assert GeneTokenizer(swapped, {}).fingerprint != tokenizer.fingerprint


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ({"[CLS]": 0, "[MASK]": 1, "[PAD]": 2, "[SEP]": 3, "ENSG01": 4}, "must contain all special tokens of one"),
        ({"<pad>": 0, "<mask>": 1, "ENSG01": 3}, "must be 0 to 2, each once"),
        ({"<pad>": 0, "<mask>": 1, "ENSG01": 1}, "must be 0 to 2, each once"),
        ({"<pad>": 0, "<mask>": 2, "ENSG01": 1}, "<mask> has the id 2, but special tokens come before"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_refused(vocab, message):
    with pytest.raises(ValueError, match=message):
        GeneTokenizer(vocab, {})


def test_a_missing_special_token_is_the_established_assertion_too():
    with pytest.raises(AssertionError):
        GeneTokenizer({"ENSG01": 0}, {})


def test_files_that_are_no_vocabulary(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"Vocab file {tmp_path / 'no'} not found"):
        GeneTokenizer.from_vocab_file(tmp_path / "no")
    for text in ("{", "[]", '{"vocab": {}}', '{"vocab": [1], "gene_to_ens": {}}'):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(BionemoError):
            GeneTokenizer.from_vocab_file(tmp_path / "bad")
    (tmp_path / "bad").write_text("{")
    with pytest.raises(FormatError, match="no vocabulary"):
        GeneTokenizer.from_vocab_file(tmp_path / "bad")


def test_it_does_not_grow_and_variants_have_names():
    with pytest.raises(ValueError, match="does not grow"):
        build().build_vocab(["x"])
    assert find_variant("V2") is V2
    with pytest.raises(ConfigError, match=r"--model V3: unknown\. Choose one of V1, V2, BIONEMO"):
        find_variant("V3")
