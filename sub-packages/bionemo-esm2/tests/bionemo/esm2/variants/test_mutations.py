# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.core.errors import DataError
from bionemo.esm2.variants.mutations import Edit, apply_variant, infer_offset, most_fitting_offset, parse_variant


WILD_TYPE = "MSIQHFRVALIPFFAAFCLPVFAHPETLVK"  # start of TEM-1 beta-lactamase, UniProt P62593


@pytest.mark.parametrize(
    ("text", "mutant"),
    [
        ("P20L", "MSIQHFRVALIPFFAAFCLLVFAHPETLVK"),
        ("p.Pro20Leu", "MSIQHFRVALIPFFAAFCLLVFAHPETLVK"),
        ("p.(P20L)", "MSIQHFRVALIPFFAAFCLLVFAHPETLVK"),
        ("P20P", WILD_TYPE),
        ("p.Pro20=", WILD_TYPE),
        ("WT", WILD_TYPE),
        ("P20L:M1A", "ASIQHFRVALIPFFAAFCLLVFAHPETLVK"),
        ("p.[Met1Ala;Pro20Leu]", "ASIQHFRVALIPFFAAFCLLVFAHPETLVK"),
        ("P20del", "MSIQHFRVALIPFFAAFCLVFAHPETLVK"),
        ("p.Ile3_Phe6del", "MSRVALIPFFAAFCLPVFAHPETLVK"),
        ("p.Ser2_Ile3insGlyTrp", "MSGWIQHFRVALIPFFAAFCLPVFAHPETLVK"),
        ("p.Ser2_Gln4delinsTrp", "MWHFRVALIPFFAAFCLPVFAHPETLVK"),
        ("S2delinsAAA", "MAAAIQHFRVALIPFFAAFCLPVFAHPETLVK"),
        ("p.Ser2dup", "MSSIQHFRVALIPFFAAFCLPVFAHPETLVK"),
        ("p.Ser2_Gln4dup", "MSIQSIQHFRVALIPFFAAFCLPVFAHPETLVK"),
        ("S2_I3insG:M1A:I3L", "ASGLQHFRVALIPFFAAFCLPVFAHPETLVK"),
        ("K30del:S2A", "MAIQHFRVALIPFFAAFCLPVFAHPETLV"),
    ],
)
def test_what_a_variant_makes_of_a_protein(text, mutant):
    variant = parse_variant(text)
    assert apply_variant(variant, WILD_TYPE) == mutant
    assert apply_variant(variant, "GG" + WILD_TYPE, offset=2) == "GG" + mutant
    assert variant.is_substitution == (not any(word in text for word in ("del", "ins", "dup")))


def test_edits_are_plain_values():
    assert parse_variant("p.Lys23_Leu24insArgSer").edits == (Edit("insertion", 23, 24, "K", "L", "RS"),)
    assert parse_variant("C3D:A1G").edits == (
        Edit("substitution", 1, 1, "A", "A", "G"),
        Edit("substitution", 3, 3, "C", "C", "D"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no substitution"),
        (
            "P20",
            "'P20' is no substitution, deletion, insertion or duplication of residues. Expected, for example, P20L",
        ),
        ("20L", "is no substitution"),
        ("P20J", "is no substitution"),
        ("P20Lx", "is no substitution"),
        ("p.Pro20Ter", "stop codons and frame shifts change more than residues: 'Pro20Ter'"),
        ("P20*", "stop codons"),
        ("p.Pro20fs", "stop codons"),
        ("P0L", "positions 0 to 0. They count from 1"),
        ("P20_V18del", "positions 20 to 18"),
        ("P20_V21L", "several residues become others by delins"),
        ("P20_V23insL", "an insertion stands between neighbours"),
        ("P20insL", "an insertion stands between neighbours"),
        ("P20_V21ins", "does not say which residues come in"),
        ("P20L:P20A", "two edits touch the residues around 20"),
        ("I3_F6del:H5A", "two edits touch the residues around 5"),
    ],
)
def test_other_texts_are_one_line(text, message):
    with pytest.raises(DataError, match=message) as caught:
        parse_variant(text)
    assert str(caught.value).startswith(f"variant {text!r}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L20P", "variant 'L20P': position 20 is P, the variant says L"),
        ("K31A", "position 31 lies outside the sequence of 30 residues"),
        ("M21A:P40L", "With offset -20 it would fit"),
        ("S2_P20del", None),
        ("S2_V20del", "position 20 is P, the variant says V"),
    ],
)
def test_a_protein_that_does_not_fit_is_told_with_what_would(text, message):
    if message is None:
        assert apply_variant(parse_variant(text), WILD_TYPE) == "MVFAHPETLVK"
        return
    with pytest.raises(DataError, match=message):
        apply_variant(parse_variant(text), WILD_TYPE)


def test_the_offset_of_a_numbering_is_inferred():
    variants = [parse_variant(text) for text in ("M24A", "P43L:V44A", "p.Ser25_Ile26insGly", "WT")]
    assert infer_offset(variants, WILD_TYPE) == -23
    assert infer_offset([parse_variant("P20L")], WILD_TYPE) == 0  # also fits at -8 and 5: as it stands is preferred
    assert infer_offset([parse_variant("WT")], WILD_TYPE) == 0
    with pytest.raises(DataError, match=r"at several offsets of the numbering \(-28, -20, -15\)"):
        infer_offset([parse_variant("P40L")], WILD_TYPE)
    with pytest.raises(DataError, match=r"the best, 0, fits 1 of 2\. Is it another protein"):
        infer_offset([parse_variant("P20L"), parse_variant("W21A")], WILD_TYPE)
    with pytest.raises(DataError, match="no offset of the numbering fits"):
        infer_offset([parse_variant("M1A"), parse_variant("K300A")], WILD_TYPE)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_edits_equal_a_list_edited_from_the_end(data):
    wild_type = data.draw(st.text(alphabet="ACDEFGHIK", min_size=1, max_size=12))
    residues, texts, position = list(wild_type), [], len(wild_type)
    while position >= 1:
        kind = data.draw(st.sampled_from(["keep", "to", "del", "dup", "ins"]))
        letter, new = wild_type[position - 1], data.draw(st.text(alphabet="LMN", min_size=1, max_size=2))
        if kind == "to":
            texts.append(f"{letter}{position}{new[0]}")
            residues[position - 1] = new[0]
        elif kind == "del":
            texts.append(f"p.{letter}{position}del"[2:])
            residues[position - 1] = ""
        elif kind == "dup":
            texts.append(f"{letter}{position}dup")
            residues[position - 1] = 2 * letter
        elif kind == "ins" and position < len(wild_type):
            texts.append(f"{letter}{position}_{wild_type[position]}{position + 1}ins{new}")
            residues[position - 1] = letter + new
        position -= 1
    variant = parse_variant(":".join(texts) or "WT")
    assert apply_variant(variant, wild_type) == "".join(residues)


def test_the_most_fitting_offset_outvotes_a_few_wrong_letters():
    wild_type = "MKTAYIAKQR"
    texts = ["M24A", "K25A", "T26G", "A27G", "W28G", "Y28W"]
    variants = [parse_variant(text) for text in texts]
    assert most_fitting_offset(variants, wild_type) == -23
    assert most_fitting_offset([parse_variant("W1A"), parse_variant("H2A"), parse_variant("M3A")], wild_type) is None
    assert most_fitting_offset([], wild_type) is None
    assert most_fitting_offset([parse_variant("K2R")], wild_type) == 0  # not 6, which fits too
