# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of ESM-2 from this project's own short pretraining, against simple baselines.

    python benchmarks/esm2_finetune.py --data DIR [--pretrained DIR] [--tasks structure variants] [--full-steps N]

DIR holds ``uniref90_9k.fasta.gz``, ``secondary_structure_1600.csv.gz`` and
``beta_lactamase_P62593_variants.csv.gz``.

structure: secondary structure of residues in 3 and 8 states (``~`` is coil), a fifth of the chains held out in whole
clusters; fine-tuning of all weights and of low-rank adapters, against the most frequent state of each amino acid in
the training split. Half of all residues are in chains of 1,000 and more, where attention takes most of the time:
training chains are cropped to random windows, held-out ones are whole.

variants: fitness of beta-lactamase mutants, synonymous ones left out, in five random folds and in five folds by
position modulo 5, Spearman's correlation of the pooled held-out predictions: ridge regression on one-hot residues, on
one-hot residues and mean embeddings, and with --full-steps fine-tuning of all weights. The head learns at a rate of
its own, FULL_LR times HEAD_LR_MULTIPLIER: its inputs are differences of mean embeddings between mutants, scaled to
variance 1, and faster steps of the encoder move them by many times that.
"""

import argparse
import csv
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from bionemo.core.randomness import Stream, rng_for
from bionemo.esm2.data.fasta_records import encode_residues
from bionemo.esm2.esm2 import ESM2
from bionemo.esm2.evaluation.ridge import (
    one_hot_kernel,
    scaled_to_one,
    standardized_kernel,
)
from bionemo.esm2.evaluation.tasks import pooled
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.examples import read_examples, splits_of
from bionemo.esm2.finetuning.finetune import finetune
from bionemo.esm2.train import train
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.esm2.variants.metrics import spearman


THREE_STATES = {**dict.fromkeys("HGI", "H"), **dict.fromkeys("EB", "E")}
STRUCTURE_MARGIN, LORA_MARGIN, LIMIT_CPU_S = 0.10, 0.02, 600
RIDGE_MARGIN, POSITION_BAR = 0.02, 0.15
NUM_FOLDS, SEED = 5, 0
FULL_LR, HEAD_LR_MULTIPLIER, FULL_BATCH_SIZE = 1e-5, 100.0, 8


def main() -> int:
    """Print all figures; 1 where one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pretrained", type=Path)
    parser.add_argument("--tasks", nargs="*", default=["structure", "variants"])
    parser.add_argument("--states", nargs="*", type=int, default=[3, 8])
    parser.add_argument("--methods", nargs="*", default=["full", "lora"], help="of structure; both are compared")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--crop-length", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--lora-lr", type=float, default=3e-3)
    parser.add_argument("--full-steps", type=int, default=0, help="of variants, optimizer steps of each fold")
    parser.add_argument("--folds", nargs="*", default=["random", "position"], help="of variants")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pretrained = arguments.pretrained or pretrain(arguments.data, work)
        failed = False
        if "structure" in arguments.tasks:
            for states in arguments.states:
                failed |= structure(arguments, pretrained, work, states)
        if "variants" in arguments.tasks:
            failed |= variants(arguments, pretrained, work)
    return int(failed)


def pretrain(data: Path, work: Path) -> Path:
    """Train a small ESM-2 for 300 steps."""
    started = time.process_time()
    config = TrainESM2Config(
        train_fasta=data / "uniref90_9k.fasta.gz", num_layers=4, hidden_size=192, num_attention_heads=12,
        ffn_hidden_size=768, num_steps=300, lr=1e-3, warmup_steps=60, max_seq_length=512, tokens_per_batch=4096,
        val_check_interval=150, limit_val_batches=8, num_dataset_workers=0, result_dir=work,
        experiment_name="pretrained", accelerator="cpu",
    )  # fmt: skip
    run = train(config)
    print(f"pretraining: {time.process_time() - started:.0f} CPU-s")
    return run


def structure(arguments: argparse.Namespace, pretrained: Path, work: Path, num_states: int) -> bool:
    """Fine-tune on secondary structure; True where a bar is missed."""
    table = work / f"structure-{num_states}.csv"
    with gzip.open(arguments.data / "secondary_structure_1600.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "labels"])
        for row in rows:
            states = row["secondary_structure"]
            if num_states == 3:
                states = "".join(THREE_STATES.get(state, "~") for state in states)
            writer.writerow([row["sequence"], states])

    def config(name: str, **changes: object) -> FinetuneESM2Config:
        return FinetuneESM2Config(
            restore_from_checkpoint_path=pretrained, train_data_path=table, level="residue",
            task_type="classification", split="cluster", num_epochs=arguments.epochs, micro_batch_size=8,
            crop_length=arguments.crop_length, limit_val_batches=8, result_dir=work,
            experiment_name=f"{name}-{num_states}", accelerator="cpu", seed=SEED, **changes,
        )  # fmt: skip

    full, lora = config("full", lr=arguments.lr), config("lora", lr=arguments.lora_lr, lora_finetune=True)
    baseline = majority_by_residue(full)
    accuracies = {}
    for name, settings in (("full", full), ("lora", lora)):
        if name not in arguments.methods:
            continue
        started = time.process_time()
        scores = json.loads((finetune(settings) / "scores.json").read_text())
        seconds = time.process_time() - started
        accuracies[name] = scores["labels"]["accuracy"]
        print(
            f"{num_states} states, {name}: accuracy {accuracies[name]:.4f}, majority by amino acid {baseline:.4f}, "
            f"{accuracies[name] - baseline:+.4f} (bar {STRUCTURE_MARGIN:+.2f}); {seconds:.0f} CPU-s "
            f"(bar {LIMIT_CPU_S}); macro-F1 {scores['labels']['macro_f1']:.3f}",
            flush=True,
        )
        if accuracies[name] < baseline + STRUCTURE_MARGIN or seconds > LIMIT_CPU_S:
            return True
    if len(accuracies) < 2:
        return False
    print(f"{num_states} states: LoRA - full {accuracies['lora'] - accuracies['full']:+.4f} (bar -{LORA_MARGIN})")
    return accuracies["lora"] < accuracies["full"] - LORA_MARGIN


def majority_by_residue(config: FinetuneESM2Config) -> float:
    """Accuracy of the most frequent state of each amino acid in the training split, on what is held out."""
    examples = read_examples(config)
    ((_, split),) = splits_of(config, examples)
    train_rows, rows = (examples.proteins.label_rows(part, "residue") for part in (split.train, split.held_out))
    labels, tokens = examples.labels[:, 0].astype(np.int64), examples.proteins.tokens
    counts = np.zeros((33, labels.max() + 1), np.int64)
    np.add.at(counts, (tokens[train_rows], labels[train_rows]), 1)
    print(f"{len(split.train)} training and {len(split.held_out)} held-out chains in whole clusters")
    return float((counts.argmax(axis=1)[tokens[rows]] == labels[rows]).mean())


def variants(arguments: argparse.Namespace, pretrained: Path, work: Path) -> bool:
    """Predict fitness of mutants; True where a bar is missed."""
    with gzip.open(arguments.data / "beta_lactamase_P62593_variants.csv.gz", "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mutant"][0] != row["mutant"][-1]]
    sequences, values = [row["sequence"] for row in rows], np.array([float(row["score"]) for row in rows])
    positions = np.array([int(row["mutant"][1:-1]) for row in rows])
    folds = {
        "random": rng_for(SEED, Stream.SPLIT).permutation(len(rows)) % NUM_FOLDS,
        "position": positions % NUM_FOLDS,
    }
    print(f"{len(rows)} mutants")
    with timed("embedding"):
        embeddings = ESM2.from_pretrained(pretrained, device="cpu").embed(sequences)
    encoded = [encode_residues(row["mutant"], row["sequence"], "error") for row in rows]
    one_hot = scaled_to_one(one_hot_kernel(encoded))
    both = one_hot + scaled_to_one(standardized_kernel(embeddings))
    failed = False
    for name in arguments.folds:
        fold_of = folds[name]
        found = {
            "one-hot ridge": spearman(pooled(one_hot, values, fold_of), values),
            "embedding + one-hot ridge": spearman(pooled(both, values, fold_of), values),
        }
        if arguments.full_steps:
            found["full fine-tuning"] = fine_tuned(arguments, pretrained, work, rows, fold_of, name)
        text = ", ".join(f"{key} {value:.4f}" for key, value in found.items())
        best = max(value for key, value in found.items() if key != "one-hot ridge")
        bar = found["one-hot ridge"] - RIDGE_MARGIN if name == "random" else POSITION_BAR
        print(f"five folds, {name}: Spearman of {text}; best of ours {best:.4f} (bar {bar:.4f})", flush=True)
        failed |= best < bar
    return failed


def fine_tuned(
    arguments: argparse.Namespace,
    pretrained: Path,
    work: Path,
    rows: list[dict[str, str]],
    fold_of: np.ndarray,
    name: str,
) -> float:
    """Spearman's correlation of the held-out predictions of fine-tuning of all weights."""
    table = work / f"variants-{name}.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "sequence", "labels", "fold"])
        writer.writerows([r["mutant"], r["sequence"], r["score"], fold] for r, fold in zip(rows, fold_of, strict=True))
    with timed("fine-tuning"):
        run = finetune(
            FinetuneESM2Config(
                restore_from_checkpoint_path=pretrained, train_data_path=table, split="column", split_column="fold",
                folds=NUM_FOLDS, num_steps=arguments.full_steps, lr=FULL_LR, scale_lr_layer="head",
                lr_multiplier=HEAD_LR_MULTIPLIER, micro_batch_size=FULL_BATCH_SIZE, limit_val_batches=8,
                accelerator="cpu", result_dir=work, experiment_name=f"variants-{name}", seed=SEED,
            )
        )  # fmt: skip
    found: float = json.loads((run / "scores.json").read_text())["labels"]["spearman"]
    return found


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a block took."""
    started = time.process_time()
    yield
    print(f"{what}: {time.process_time() - started:.0f} CPU-s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
