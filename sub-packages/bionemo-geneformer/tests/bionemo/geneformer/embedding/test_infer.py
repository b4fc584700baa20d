# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import anndata
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bionemo.core._config_parser import build_parser
from bionemo.core.files import is_leftover
from bionemo.core.partitioned_output import FINISHED_NAME
from bionemo.geneformer.api import GeneformerWithHead, HeadConfig, load_geneformer, save_finetuned
from bionemo.geneformer.data.tokenized_cells import open_tokenized
from bionemo.geneformer.embedding.config import InferGeneformerConfig
from bionemo.geneformer.embedding.infer import split_cells
from bionemo.geneformer.embedding.results_table import read_embeddings
from bionemo.geneformer.scripts.infer_geneformer import main
from bionemo.testing.kills import kill_runner


PRELOAD = (
    "bionemo.geneformer.perturbation.run", "bionemo.testing.multiprocess", "matplotlib.backends.backend_agg",
    "matplotlib.figure", "pyarrow.parquet", "pytest", "scipy.stats",
)  # fmt: skip
"""Of all kill tests of the package: they share one fork server."""
FLAGS = """
--version
--counts-layer --feature-type
--data-dir --data-path --checkpoint-path --checkpoint
--results-path --token-dictionary --gene-medians --gene-names --gene-mapping
--gene-column --id-column --empty-cells --allow-fractional-counts --no-allow-fractional-counts --min-coverage
--include-unrecognized-vocab-in-dataset --no-include-unrecognized-vocab-in-dataset --refuse-unknown-genes --seq-length
--embeddings --no-embeddings --embedding --layer --skip-last-gene --no-skip-last-gene --predictions --no-predictions
--include-gene-embeddings --no-include-gene-embeddings --include-input-ids --no-include-input-ids --include-hiddens
--no-include-hiddens
--include-logits --no-include-logits --prediction-interval --format --config-class --tokens-per-batch
--micro-batch-size --num-dataset-workers --accelerator --num-gpus --devices --num-nodes --precision
--compile --no-compile
--config --debug --help -h
"""


def run(files, results, *extra, data="tokens", checkpoint=None):
    source = getattr(files, data) if isinstance(data, str) else data
    return main(
        [
            *("--checkpoint-path", str(checkpoint or files.checkpoint), "--data-dir", str(source)),
            *("--results-path", str(results), "--accelerator", "cpu"),
            *map(str, extra),
        ]
    )


def one_at_a_time(files, layer):
    """Tokens, hidden states of a layer and logits of each cell alone."""
    module = load_geneformer(files.checkpoint)
    cells = open_tokenized(files.tokens)
    found = []
    for row in range(len(cells)):
        tokens = torch.from_numpy(cells.read(np.array([row]))[0]).unsqueeze(0)
        with torch.inference_mode():
            output = module(tokens, output_hidden_states=True)
        found.append((tokens[0].numpy(), output.hidden_states[layer - 1][0].numpy(), output.token_logits[0].numpy()))
    return found


def genes_of(files, tokens):
    return np.flatnonzero(~np.isin(tokens, files.dictionaries.tokenizer.all_special_ids))


def test_flags_are_the_golden_list():
    parser = build_parser(InferGeneformerConfig)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


@pytest.mark.parametrize("variant", ["V1", "V2", "BIONEMO"])
@pytest.mark.parametrize("layer", [-1, 0])
def test_embeddings_are_those_of_each_cell_alone(tmp_path, embedding_files, capsys, variant, layer):
    files = embedding_files(variant)
    kinds = ("cell",) if variant == "V1" else ("cls", "cell")
    assert run(files, tmp_path / "out", "--layer", layer, "--embedding", *kinds) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    expected = one_at_a_time(files, layer)
    for kind in kinds:
        ids, embeddings = read_embeddings(tmp_path / "out", kind)
        assert ids.tolist() == [f"cell{row}" for row in range(30)]
        assert embeddings.dtype == np.float32
        for found, (tokens, hidden, _) in zip(embeddings, expected, strict=True):
            alone = hidden[0] if kind == "cls" else hidden[genes_of(files, tokens)].mean(axis=0)
            np.testing.assert_allclose(found, alone, atol=2e-6 * max(1, abs(hidden).max()))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cells.parquet", "config.yaml"]


@pytest.mark.parametrize("data", ["h5ad", "archive"])
def test_counts_give_the_embeddings_of_their_tokens(tmp_path, embedding_files, data):
    files = embedding_files("V2")
    assert run(files, tmp_path / "tokens") == 0
    assert run(files, tmp_path / "counts", data=data) == 0
    for found, expected in zip(
        read_embeddings(tmp_path / "counts"), read_embeddings(tmp_path / "tokens"), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_size_of_packs_and_workers_change_nothing_but_rounding(tmp_path, embedding_files):
    files = embedding_files("BIONEMO")
    assert run(files, tmp_path / "a", "--tokens-per-batch", 40) == 0
    assert run(files, tmp_path / "b", "--micro-batch-size", 30, "--num-dataset-workers", 1, data="archive") == 0
    np.testing.assert_allclose(read_embeddings(tmp_path / "a")[1], read_embeddings(tmp_path / "b")[1], atol=1e-5)


def test_everything_that_can_be_asked_for(tmp_path, embedding_files, monkeypatch):
    files = embedding_files("V2")
    monkeypatch.setattr("bionemo.geneformer.embedding.infer.MAX_PARTITION_BYTES", 40_000)  # several partitions
    extras = ("--include-input-ids", "--include-hiddens", "--include-logits", "--include-gene-embeddings")
    assert run(files, tmp_path / "out", *extras, "--format", "h5ad", "--layer", 0) == 0
    expected = one_at_a_time(files, 0)
    table = pq.read_table(tmp_path / "out" / "cells.parquet")
    assert table.column_names == ["cell_id", "cls", "input_ids", "hidden_states", "token_logits"]
    for row, (tokens, hidden, logits) in zip(table.to_pylist(), expected, strict=True):
        assert row["input_ids"] == tokens.tolist()
        np.testing.assert_allclose(row["hidden_states"], hidden, atol=1e-5)
        np.testing.assert_allclose(row["token_logits"], logits, atol=1e-4)
    adata = anndata.read_h5ad(tmp_path / "out" / "cells.h5ad")
    np.testing.assert_array_equal(adata.obsm["X_geneformer"], read_embeddings(tmp_path / "out")[1])
    assert list(adata.obs["cell_type"]) == [f"type{t}" for t in files.cells.cell_types]
    assert list(adata.obs_names) == [f"cell{row}" for row in range(30)]
    genes = pq.read_table(tmp_path / "out" / "gene_embeddings.parquet").to_pylist()
    by_token = {}
    for tokens, hidden, _ in expected:
        for place in genes_of(files, tokens):
            by_token.setdefault(int(tokens[place]), []).append(hidden[place])
    assert [gene["token"] for gene in genes] == sorted(by_token)
    for gene in genes:
        number = gene["token"] - 4
        assert (gene["ensembl_id"], gene["gene_symbol"]) == (files.cells.gene_ids[number], f"SYM{number}")
        assert gene["num_cells"] == len(by_token[gene["token"]])
        np.testing.assert_allclose(gene["embedding"], np.mean(by_token[gene["token"]], axis=0), atol=1e-5)
    names = ["cells.h5ad", "cells.parquet", "config.yaml", "gene_embeddings.parquet"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_a_file_for_each_partition_on_request(tmp_path, embedding_files, monkeypatch):
    files = embedding_files("V2")
    monkeypatch.setattr("bionemo.geneformer.embedding.infer.CELLS_PER_PARTITION", 8)
    assert run(files, tmp_path / "batch", "--prediction-interval", "batch") == 0
    assert run(files, tmp_path / "epoch") == 0
    parts = sorted(path.name for path in (tmp_path / "batch" / "cells").iterdir())
    assert parts == [f"part-0000{number}.parquet" for number in range(4)]
    for found, expected in zip(read_embeddings(tmp_path / "batch"), read_embeddings(tmp_path / "epoch"), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_established_mean_without_the_lowest_gene(tmp_path, embedding_files):
    files = embedding_files("BIONEMO")
    assert run(files, tmp_path / "out", "--embedding", "cell", "--skip-last-gene", "--layer", 0) == 0
    for found, (_, hidden, _) in zip(read_embeddings(tmp_path / "out")[1], one_at_a_time(files, 0), strict=True):
        np.testing.assert_allclose(found, hidden[1:-1].mean(axis=0), atol=1e-5)


def test_a_fine_tuned_model_predicts(tmp_path, embedding_files):
    files = embedding_files("V2")
    base = load_geneformer(files.checkpoint)
    head = HeadConfig(task="cell-classification", classes=("a", "b", "c"), pooling="first")
    finetuned = GeneformerWithHead(base.model, head, base.dictionaries).eval()
    save_finetuned(finetuned, tmp_path / "model")
    assert run(files, tmp_path / "out", "--predictions", checkpoint=tmp_path / "model") == 0
    table = pq.read_table(tmp_path / "out" / "cells.parquet")
    assert table.column_names == ["cell_id", "cls", "prediction", "probabilities"]
    cells = open_tokenized(files.tokens)
    for row, found in enumerate(table.to_pylist()):
        with torch.inference_mode():
            outputs = finetuned(torch.from_numpy(cells.read(np.array([row]))[0]).unsqueeze(0))[0]
        np.testing.assert_allclose(found["probabilities"], outputs.softmax(0).numpy(), atol=1e-5)
        assert found["prediction"] == head.classes[int(outputs.argmax())]
    genes = HeadConfig(task="gene-classification", classes=("a", "b"))
    save_finetuned(GeneformerWithHead(base.model, genes, base.dictionaries), tmp_path / "genes")
    assert run(files, tmp_path / "no", "--predictions", checkpoint=tmp_path / "genes") == 2
    assert run(files, tmp_path / "no", "--predictions") == 2  # a pretrained model has no head


def test_the_established_head_of_lengths(tmp_path, embedding_files):
    files = embedding_files("BIONEMO")
    arguments = ("--config-class", "FineTuneSeqLenBioBertConfig", "--no-embeddings")
    assert run(files, tmp_path / "out", *arguments) == 0
    table = pq.read_table(tmp_path / "out" / "cells.parquet")
    assert table.column_names == ["cell_id", "predicted_length"]
    predicted = np.array(table.column("predicted_length").to_pylist())
    assert np.isfinite(predicted).all()
    assert len(np.unique(predicted)) == 30


def test_partitions_respect_cells_and_memory(monkeypatch):
    monkeypatch.setattr("bionemo.geneformer.embedding.infer.MAX_PARTITION_BYTES", 100)
    indices, lengths = np.arange(10, 16), np.array([4, 4, 4, 30, 1, 1])

    def split(max_cells, size):
        parts = split_cells(indices, lengths, max_cells=max_cells, bytes_per_token=size)
        return [part.tolist() for part in parts]

    assert split(4, 0) == [[10, 11, 12, 13], [14, 15]]
    assert split(99, 10) == [[10, 11], [12], [13], [14, 15]]
    assert split(99, 0) == [indices.tolist()]


def change(files, folder, edit):
    adata = files.cells.to_anndata()
    edit(adata)
    adata.write_h5ad(folder / "changed.h5ad")
    return folder / "changed.h5ad"


def test_the_ids_and_empty_cells(tmp_path, embedding_files, capsys):
    files = embedding_files("V2")

    def edit(adata):
        adata.obs["barcode"] = [f"b{i}" for i in range(30)]
        dense = files.cells.counts.toarray()
        dense[4] = 0
        adata.X = dense

    path = change(files, tmp_path, edit)
    assert run(files, tmp_path / "no", data=path) == 2
    assert "cell 4 has no counts of known genes" in capsys.readouterr().err
    assert run(files, tmp_path / "out", "--empty-cells", "skip", "--id-column", "barcode", data=path) == 0
    assert read_embeddings(tmp_path / "out")[0].tolist() == [f"b{i}" for i in range(30) if i != 4]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--layer", 1), "layer 1: expected 0 (the last) to -3"),
        (("--layer", -4), "layer -4"),
        (("--seq-length", 41), "--seq-length 41: exceeds the model's context of 40 tokens"),
        (("--no-embeddings",), "nothing is left to write"),
        (("--no-embeddings", "--embedding", "cell"), "--embedding contradicts --no-embeddings"),
        (("--tokens-per-batch", 99, "--micro-batch-size", 2), "exclude each other"),
        (("--compile",), "--compile: works on a GPU only"),
        (("--compile", "--predictions"), "--compile: not with the head of a fine-tuned model"),
        (("--id-column", "cell_type"), "two cells have the same id"),
        (("--id-column", "nope"), "no obs column 'nope'"),
        (("--num-gpus", 0), "--num-gpus 0: must be at least 1"),
    ],
)
def test_bad_settings_are_one_line_exit_2_and_leave_nothing(tmp_path, embedding_files, capsys, extra, message):
    assert run(embedding_files("V2"), tmp_path / "out", *extra) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("infer_geneformer: error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_input_of_another_kind_is_refused(tmp_path, embedding_files, capsys):
    files = embedding_files("V2")

    def refused(message, *extra, **options):
        assert run(files, tmp_path / "out", *extra, **options) == 2
        assert message in capsys.readouterr().err.strip().splitlines()[-1]
        assert not any(tmp_path.glob("out*"))

    refused("was tokenized with another vocabulary", data=embedding_files("BIONEMO").tokens)
    vocabulary = files.dictionaries.tokenizer.vocab
    swapped = vocabulary | {files.cells.gene_ids[0]: 5, files.cells.gene_ids[1]: 4}
    (tmp_path / "tokens.json").write_text(json.dumps(swapped))
    refused("the vocabulary's fingerprint is", "--token-dictionary", tmp_path / "tokens.json")
    normalized = change(files, tmp_path, lambda adata: setattr(adata, "X", np.log1p(files.cells.counts.toarray())))
    refused("log-normalized by their range. Ranking needs raw counts", data=normalized)
    nothing = change(files, tmp_path, lambda adata: setattr(adata, "X", adata.X * 0))
    refused("none of the 30 cells has counts of known genes", "--empty-cells", "skip", data=nothing)
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"input_ids": [[2, 3], [2, 3]]}), empty)
    refused("none of the 2 cells has genes", "--empty-cells", "skip", data=empty)
    pq.write_table(pa.table({"input_ids": pa.array([], pa.list_(pa.int32()))}), empty)
    refused("is empty, there are no cells in it", data=empty)
    unknown = change(
        files, tmp_path, lambda adata: adata.var.__setitem__("feature_id", [*files.cells.gene_ids[:49], "lnc"])
    )
    refused("Provided gene identifier, lnc, is not in the tokenizer vocab", "--refuse-unknown-genes", data=unknown)
    refused("there is no such file", data=tmp_path / "none")
    (tmp_path / "model").mkdir()
    refused("config.json", "--checkpoint-path", tmp_path / "model")
    assert run(embedding_files("V1"), tmp_path / "out", "--embedding", "cls") == 2
    assert "--embedding cls: V1 has no first token" in capsys.readouterr().err


def infer_all(arguments, cells_per_partition):
    import bionemo.geneformer.embedding.infer as module

    module.CELLS_PER_PARTITION = cells_per_partition
    assert main(arguments) == 0


@pytest.mark.parametrize("kills", [None, pytest.param(50, marks=pytest.mark.nightly)])
def test_kills_leave_whole_results_or_work_that_goes_on(tmp_path, embedding_files, kills):
    files = embedding_files("V2")
    assert run(files, tmp_path / "undisturbed") == 0
    expected = read_embeddings(tmp_path / "undisturbed")
    target = tmp_path / "out"
    arguments = [
        *("--checkpoint-path", str(files.checkpoint), "--data-dir", str(files.archive), "--results-path", str(target)),
        *("--accelerator", "cpu", "--tokens-per-batch", "40"),
    ]
    landed = []

    def check(kill):
        if target.exists():
            ids, embeddings = read_embeddings(target)
            assert ids.tolist() == expected[0].tolist()
            np.testing.assert_allclose(embeddings, expected[1], atol=1e-5)
            shutil.rmtree(target)
        else:
            parts = [p for p in (tmp_path / "out.incomplete").glob("partition-*") if not is_leftover(p)]
            if not (tmp_path / "out.incomplete" / FINISHED_NAME).exists():  # else they may be on their way out
                assert all(pq.read_table(path / "cells.parquet").num_rows == 1 for path in parts)
            landed.append(len(parts))

    kill_runner(infer_all, arguments, 1, check=check, kills=kills, preload=PRELOAD)
    assert landed


def test_lists_of_tokens_are_laid_out_by_row():
    from bionemo.geneformer.embedding.embedder import CellOutputs
    from bionemo.geneformer.embedding.results_table import cells_table

    outputs = CellOutputs({}, input_ids=[np.array([1, 2]), np.array([3])])
    table = cells_table(outputs, np.array(["a", "b"]))
    assert table.to_pylist() == [{"cell_id": "a", "input_ids": [1, 2]}, {"cell_id": "b", "input_ids": [3]}]
