# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The packed stream against a loop over transformers' model, one list at a time, written from the definitions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bionemo.core.errors import DataError
from bionemo.geneformer.api import GeneformerMaskedLM, build_geneformer, geneformer_config, save_geneformer
from bionemo.geneformer.data.tokenized_cells import TokenLists
from bionemo.geneformer.embedding.encoder import Encoder, build_encoder
from bionemo.geneformer.perturbation.edits import Perturbation
from bionemo.geneformer.perturbation.perturb_cells import TokenLayout, embed_cells, perturb_cells
from bionemo.geneformer.perturbation.shifts import Measure


GENES = 40
CONTEXT = 12
LAYOUTS = {"V1": TokenLayout(CONTEXT), "V2": TokenLayout(CONTEXT, (2,), (3,)), "BIONEMO": TokenLayout(CONTEXT, (0,))}
ALL = np.arange(3)


def tiny(variant: str) -> GeneformerMaskedLM:
    config = geneformer_config(
        variant,
        num_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        ffn_hidden_size=64,
        vocab_size=GENES,
        seq_length=CONTEXT,
        init_method_std=0.5,  # so that a token more or less matters
    )
    return build_geneformer(config, seed=3).eval()


def encoder(module: GeneformerMaskedLM, num_blocks: int) -> Encoder:
    return build_encoder(module.model, num_blocks - module.config.num_layers, has_repeats=True)


def cells_for(layout: TokenLayout, *gene_lists: list[int]) -> TokenLists:
    return TokenLists.from_lists([[*layout.prefix, *genes, *layout.suffix] for genes in gene_lists])


@pytest.fixture(scope="module")
def states_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[int], int], np.ndarray]:
    """Hidden states of transformers' model for one list of tokens: variant, tokens, index among the hidden states."""
    transformers = pytest.importorskip("transformers")
    loaded = {}
    for variant in ("V1", "V2"):
        path = tmp_path_factory.mktemp("model") / variant
        save_geneformer(tiny(variant), path)
        loaded[variant] = transformers.BertForMaskedLM.from_pretrained(path).eval()

    def states(variant: str, tokens: list[int], index: int) -> np.ndarray:
        with torch.no_grad():
            output = loaded[variant](torch.tensor([tokens]), output_hidden_states=True)
        return output.hidden_states[index][0].double().numpy()

    return states


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def reference(
    states_of: Callable[[str, list[int], int], np.ndarray],
    variant: str,
    genes: list[int],
    edits: dict[tuple[int, ...], list[int]],
    measure: Measure,
    index: int,
) -> dict[tuple[int, ...], list[float]]:
    """Values of one cell's edits, given as perturbed lists: two model calls each, dictionaries of gene vectors."""
    layout = LAYOUTS[variant]

    def vectors(tokens: list[int]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        hidden = states_of(variant, [*layout.prefix, *tokens, *layout.suffix], index)
        return hidden[0], dict(zip(tokens, hidden[len(layout.prefix) :], strict=False))

    values = {}
    for perturbed, tokens in edits.items():
        inserted = [token for token in perturbed if token not in genes and token in tokens]
        room = len(genes) - max(len(genes) + len(inserted) - layout.max_genes, 0)
        (first_before, before), (first_after, after) = vectors(genes[:room]), vectors(tokens)
        shared = [gene for gene in before if gene in after and gene not in perturbed]
        pairs = [(before[gene], after[gene]) for gene in shared]
        if measure.embedding == "cls":
            left, right = first_before, first_after
        else:
            left, right = (np.mean(side, axis=0) for side in zip(*pairs, strict=True))
        if measure.states:
            states = [state.numpy() for state in measure.states.values()]
            values[perturbed] = [cosine(right, state) - cosine(left, state) for state in states]
        elif measure.cosine == "genes":
            values[perturbed] = [float(np.mean([cosine(a, b) for a, b in pairs]))]
        else:
            values[perturbed] = [cosine(left, right)]
    return values


STATES = {"shift_to_goal": torch.linspace(-1, 1, 32).double(), "shift_to_alt": torch.ones(32).double()}
MEASURES = [
    ("V1", Measure(embedding="cell", cosine="genes")),
    ("V1", Measure(embedding="cell", states=STATES)),
    ("V2", Measure(embedding="cell")),
    ("V2", Measure(embedding="cls")),
    ("V2", Measure(embedding="cls", states=STATES)),
]


@pytest.mark.parametrize(("variant", "measure"), MEASURES)
@pytest.mark.parametrize("num_blocks", [1, 2])
@pytest.mark.parametrize("max_tokens", [CONTEXT, 64])
def test_every_gene_deleted_equals_the_loop(
    states_of: Callable[..., np.ndarray], variant: str, measure: Measure, num_blocks: int, max_tokens: int
) -> None:
    cells = [[10, 20, 30, 15, 25, 35], [21, 11], [12, 13, 14, 15, 16, 17, 18, 19, 20, 21]]
    layout = LAYOUTS[variant]
    found: dict[int, dict[tuple[int, ...], list[float]]] = {}
    for result in perturb_cells(
        encoder(tiny(variant), num_blocks),
        cells_for(layout, *cells),
        ALL,
        Perturbation(perturb_type="delete"),
        measure,
        layout=layout,
        max_tokens=max_tokens,
    ):
        found.setdefault(result.cell_idx, {}).update(zip(result.perturbed, result.values.tolist(), strict=True))
    for cell_idx, genes in enumerate(cells):
        edits = {(gene,): [other for other in genes if other != gene] for gene in genes}
        expected = reference(states_of, variant, genes, edits, measure, num_blocks)
        assert list(found[cell_idx]) == list(expected)
        np.testing.assert_allclose(
            list(found[cell_idx].values()), list(expected.values()), rtol=0, atol=3e-6
        )  # float32


@pytest.mark.parametrize("variant", ["V1", "V2"])
def test_insertion_into_a_full_cell_leaves_the_same_genes_out_of_both_sides(
    states_of: Callable[..., np.ndarray], variant: str
) -> None:
    layout = LAYOUTS[variant]
    full = list(range(10, 10 + layout.max_genes))
    cells = [full, full[:-1], full[:4]]
    measure = Measure(embedding="cls" if variant == "V2" else "cell", states=STATES)
    results = perturb_cells(
        encoder(tiny(variant), 2),
        cells_for(layout, *cells),
        ALL,
        Perturbation(perturb_type="overexpress", genes=(30, 12)),
        measure,
        layout=layout,
        max_tokens=40,
    )
    for result, genes in zip(results, cells, strict=True):
        edited = [30, 12, *(gene for gene in genes if gene != 12)][: layout.max_genes]
        expected = reference(states_of, variant, genes, {(30, 12): edited}, measure, 2)
        np.testing.assert_allclose(result.values, [expected[30, 12]], rtol=0, atol=3e-6)


def test_pairs_with_an_absent_anchor_compare_with_the_cell_cut_as_often_as_needed(
    states_of: Callable[..., np.ndarray],
) -> None:
    genes = list(range(10, 10 + CONTEXT))
    measure = Measure(embedding="cell")
    found: dict[tuple[int, ...], list[float]] = {}
    encode, packs = encoder(tiny("V1"), 2), []
    for result in perturb_cells(
        lambda batch: packs.append(batch["num_sequences"]) or encode(batch),  # type: ignore[func-returns-value]
        cells_for(LAYOUTS["V1"], genes),
        ALL[:1],
        Perturbation(perturb_type="overexpress", anchor=35),
        measure,
        layout=LAYOUTS["V1"],
        max_tokens=50,
    ):
        found |= zip(result.perturbed, result.values.tolist(), strict=True)
    others = {(gene,): [gene, *(g for g in genes if g != gene)] for gene in genes[1:]}
    pairs = {(35, gene): [35, gene, *(g for g in genes if g != gene)][:CONTEXT] for gene in genes}
    edits = {(35,): [35, *genes[:-1]], **others, **pairs}
    assert found.keys() == edits.keys()
    expected = reference(states_of, "V1", genes, edits, measure, 2)
    np.testing.assert_allclose([found[key] for key in edits], [expected[key] for key in edits], rtol=0, atol=3e-6)
    assert sum(packs) == len(edits) + 2  # the whole cell and the cut one, each once


@pytest.mark.parametrize("variant", ["V1", "V2", "BIONEMO"])
def test_nothing_perturbed_moves_nothing(variant: str) -> None:
    layout = LAYOUTS[variant]
    cells = cells_for(layout, [10, 11, 12, 13], [20, 21, 22])
    for measure, rest in ((Measure(embedding="cell"), 1.0), (Measure(embedding="cell", states=STATES), 0.0)):
        for kind in ("delete", "overexpress"):
            perturbation = Perturbation(perturb_type=kind, genes=())  # type: ignore[arg-type]
            results = perturb_cells(
                encoder(tiny(variant), 2), cells, ALL[:2], perturbation, measure, layout=layout, max_tokens=64
            )
            values = np.concatenate([result.values for result in results])
            assert values.shape == (2, len(measure.columns))
            np.testing.assert_allclose(values, rest, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["V1", "V2", "BIONEMO"])
def test_deleting_the_only_difference_moves_one_cell_onto_the_other(variant: str) -> None:
    layout, encode = LAYOUTS[variant], encoder(tiny(variant), 1)
    cells = cells_for(layout, [10, 11, 12, 13, 14], [10, 11, 13, 14])
    for embedding in ("cell",) if variant == "V1" else ("cell", "cls"):
        sizes: dict[str, Any] = {"layout": layout, "max_tokens": 64}
        start, goal = embed_cells(encode, cells, ALL[:2], embedding, **sizes)  # type: ignore[arg-type]
        measure = Measure(embedding=embedding, states={"goal": goal})  # type: ignore[arg-type]
        perturbation = Perturbation(perturb_type="delete", genes=(12,))
        (result,) = perturb_cells(encode, cells, ALL[:1], perturbation, measure, **sizes)
        if embedding == "cell":  # both sides leave the deleted gene out of their means
            tokens, _ = cells.read(ALL[:1])
            genes = layout.genes_of(tokens, 0)
            alone = embed_cells(encode, cells_for(layout, genes.tolist()), ALL[:1], "cell", **sizes)
            start = (alone[0] * 5 - _gene_vector(encode, layout, genes, 2)) / 4
        expected = 1 - cosine(start.numpy(), goal.numpy())
        assert expected > 1e-3
        assert result.values[0, 0] == pytest.approx(expected, abs=1e-6)


def _gene_vector(encode: Encoder, layout: TokenLayout, genes: np.ndarray, place: int) -> torch.Tensor:
    tokens = layout.tokens_of(genes)
    batch = {
        "input_ids": torch.from_numpy(tokens),
        "position_ids": torch.arange(len(tokens)),
        "cu_seqlens": torch.tensor([0, len(tokens)], dtype=torch.int32),
        "max_seqlen": len(tokens),
        "num_tokens": len(tokens),
    }
    return encode(batch)[len(layout.prefix) + place].double()  # type: ignore[arg-type]


def test_gene_cosines_average_to_the_cells_value() -> None:
    layout = LAYOUTS["V1"]
    cells = cells_for(layout, [10, 11, 12, 13, 14], [20, 21, 22])
    measure = Measure(embedding="cell", cosine="genes")
    for result in perturb_cells(
        encoder(tiny("V1"), 2),
        cells,
        ALL[:2],
        Perturbation(perturb_type="delete"),
        measure,
        layout=layout,
        max_tokens=20,
        include_gene_cosines=True,
    ):
        assert result.affected is not None
        assert result.affected_counts is not None
        assert result.affected_cosines is not None
        genes = layout.genes_of(cells.read(np.array([result.cell_idx]))[0], 0).tolist()
        ends = np.cumsum(result.affected_counts)
        for k, ((gene,), end) in enumerate(zip(result.perturbed, ends, strict=True)):
            rows = slice(end - result.affected_counts[k], end)
            assert result.affected[rows].tolist() == [other for other in genes if other != gene]
            assert result.affected_cosines[rows].mean() == pytest.approx(result.values[k, 0], abs=1e-6)


def test_cells_of_another_model_are_refused() -> None:
    encode = encoder(tiny("V2"), 2)
    perturbation, measure = Perturbation(perturb_type="delete"), Measure(embedding="cls")
    layout = LAYOUTS["V2"]._replace(vocab_size=GENES)
    for cell, message in (
        ([10, 11, 12], "cell 0: its tokens are not of the model's vocabulary"),
        ([2, 10, 40, 3], "cell 0: its tokens are not of the model's vocabulary"),
        ([2, *range(10, 22), 3], "cell 0: 14 tokens, more than the model's 12"),
    ):
        cells = TokenLists.from_lists([cell])
        with pytest.raises(DataError, match=message):
            list(perturb_cells(encode, cells, ALL[:1], perturbation, measure, layout=layout, max_tokens=64))
