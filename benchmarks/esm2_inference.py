# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Embedding speed of ESM-2 8M on a CPU: `infer_esm2` against Hugging Face and esm-cpp, float32, side by side.

Four ways to the mean embeddings of the same sequences of natural lengths (cut at 1,022 residues):
  ours      what `infer_esm2` runs, from a FASTA file and a checkpoint folder to sequences.parquet, all included
  order     EsmModel, sdpa, batches of 16 in input order, padded to the longest of the batch; sequences in memory
  sorted    the same, the sequences sorted by length first
  esm-cpp   0.2.1 in an environment of its own (--esm-cpp-python), fp32, its packed scheduler; logits, nothing written

    python benchmarks/esm2_inference.py [--rounds 3] [--threads 2] [--esm-cpp-python ENV/bin/python] [--fasta FILE]

Each round draws 64 sequences and embeds them in every way, one after the other. Rates count residues, never padding,
per CPU-second of the process, because cores may be shared; ratios are medians over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np


warnings.filterwarnings("ignore")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # idle threads sleep, as in our commands; the same for every peer

import torch  # noqa: E402 - after the switches above
from transformers import EsmForMaskedLM, EsmTokenizer  # noqa: E402
from xopen import xopen  # noqa: E402

from bionemo.esm2 import build_esm2, esm2_config, open_embeddings, save_esm2  # noqa: E402
from bionemo.esm2.embedding.config import InferESM2Config  # noqa: E402
from bionemo.esm2.embedding.infer import run_inference  # noqa: E402
from bionemo.testing.data.fasta import write_fasta  # noqa: E402
from bionemo.testing.proteins import make_proteins  # noqa: E402


REAL_DATA = Path(__file__).resolve().parents[2] / "shared/data/uniref90_9k.fasta.gz"
MAX_RESIDUES, BATCH_SIZE, POOL_SIZE = 1022, 16, 64
Way = Callable[[list[str]], float]
"""Embeds sequences and returns the CPU-seconds that it took."""
BARS = {"order": 4.0, "sorted": 1.8, "esm-cpp": 1.5}

ESM_CPP_WORKER = """
import json, sys, time
import esm_cpp
model, tokenizer = esm_cpp.Model.load_from_safetensors(sys.argv[1]), esm_cpp.Tokenizer()
for line in sys.stdin:
    batch = [tokenizer.encode(sequence) for sequence in json.loads(line)]
    start = time.process_time()
    model.forward_scheduled(batch)
    print(time.process_time() - start, flush=True)
"""


def read_sequences(path: Path) -> list[str]:
    """Sequences of a FASTA file, cut at the longest that is measured."""
    with xopen(path) as file:
        records = file.read().split(">")[1:]
    return ["".join(record.splitlines()[1:]).replace("*", "")[:MAX_RESIDUES] for record in records]


class Peers:
    """Everything that embeds a list of sequences.

    Args:
        folder: Scratch.
        esm_cpp_python: Python of an environment with esm-cpp; None: it is left out.
    """

    def __init__(self, folder: Path, esm_cpp_python: Path | None) -> None:
        self.folder, self.checkpoint = folder, folder / "model"
        save_esm2(build_esm2(esm2_config("8M"), seed=1), self.checkpoint)
        self.model = EsmForMaskedLM.from_pretrained(self.checkpoint, attn_implementation="sdpa").esm.eval()
        self.tokenizer = EsmTokenizer.from_pretrained(self.checkpoint)
        self.num_runs = 0
        self.means: dict[str, np.ndarray] = {}
        self.worker: subprocess.Popen[str] | None = None
        self.ways: dict[str, Way] = {
            "ours": self.ours, "order": self.in_order, "sorted": self.by_length,
        }  # fmt: skip
        if esm_cpp_python is not None:
            environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
            self.worker = subprocess.Popen(
                [str(esm_cpp_python), "-c", ESM_CPP_WORKER, str(self.checkpoint / "model.safetensors")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )  # fmt: skip
            self.ways["esm-cpp"] = self.esm_cpp

    def ours(self, sequences: list[str]) -> float:
        """CPU-seconds of `infer_esm2`, from file to file."""
        self.num_runs += 1
        fasta, out = self.folder / f"in-{self.num_runs}.fasta", self.folder / f"out-{self.num_runs}"
        fasta.write_text("".join(f">P{row}\n{sequence}\n" for row, sequence in enumerate(sequences)))
        start = time.process_time()
        run_inference(
            InferESM2Config(
                checkpoint_path=self.checkpoint,
                data_path=fasta,
                results_path=out,
                embedding=("mean",),
                accelerator="cpu",
                precision="fp32",
            )
        )
        seconds = time.process_time() - start
        self.means["ours"] = open_embeddings(out, "mean").matrix()
        return seconds

    @torch.inference_mode()
    def hugging_face(self, sequences: list[str], order: np.ndarray) -> np.ndarray:
        """[P, H] mean over residues, by padded batches."""
        means = np.empty((len(sequences), self.model.config.hidden_size), dtype=np.float32)
        for first in range(0, len(order), BATCH_SIZE):
            rows = order[first : first + BATCH_SIZE]
            batch = self.tokenizer([sequences[row] for row in rows], return_tensors="pt", padding=True)
            states = self.model(**batch).last_hidden_state
            residues = batch["attention_mask"].clone()
            residues[:, 0] = 0
            residues[torch.arange(len(rows)), batch["attention_mask"].sum(1) - 1] = 0
            weights = residues.unsqueeze(2).float()
            means[rows] = ((states * weights).sum(1) / weights.sum(1)).numpy()
        return means

    def in_order(self, sequences: list[str]) -> float:
        """CPU-seconds of padded batches in input order."""
        start = time.process_time()
        self.means["order"] = self.hugging_face(sequences, np.arange(len(sequences)))
        return time.process_time() - start

    def by_length(self, sequences: list[str]) -> float:
        """CPU-seconds of padded batches of like lengths."""
        start = time.process_time()
        self.means["sorted"] = self.hugging_face(sequences, np.argsort([len(each) for each in sequences]))
        return time.process_time() - start

    def esm_cpp(self, sequences: list[str]) -> float:
        """CPU-seconds of esm-cpp, as its process says."""
        assert self.worker is not None
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        self.worker.stdin.write(json.dumps(sequences) + "\n")
        self.worker.stdin.flush()
        return float(self.worker.stdout.readline())

    def close(self) -> None:
        """End the other process."""
        if self.worker is not None:
            self.worker.communicate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="ESM-2 8M embeddings on a CPU: infer_esm2 against its peers.")
    parser.add_argument("--rounds", type=int, default=3, help=f"pools of {POOL_SIZE} sequences")
    parser.add_argument("--threads", type=int, default=2, help="threads of every peer")
    parser.add_argument("--esm-cpp-python", type=Path, help="Python of an environment with esm-cpp==0.2.1")
    parser.add_argument("--fasta", type=Path, default=REAL_DATA, help="sequences; generated where it is absent")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with TemporaryDirectory() as name:
        folder, fasta = Path(name), arguments.fasta
        if not fasta.exists():
            fasta = write_fasta(folder / "generated.fasta", make_proteins(4000, min_length=40, max_length=1400))
        sequences = read_sequences(fasta)
        if arguments.esm_cpp_python is None:
            print("esm-cpp is left out: name the Python of an environment that has it with --esm-cpp-python")
        peers = Peers(folder, arguments.esm_cpp_python)
        for embed in peers.ways.values():  # warm-up
            embed(sequences[:BATCH_SIZE])
        rates: dict[str, list[float]] = {way: [] for way in peers.ways}
        for number in range(arguments.rounds):
            pool = [sequences[row] for row in np.random.default_rng(number).permutation(len(sequences))[:POOL_SIZE]]
            for way, embed in peers.ways.items():
                rates[way].append(sum(map(len, pool)) / embed(pool))
            print(f"round {number}: " + ", ".join(f"{way} {rates[way][-1]:.0f}" for way in rates), flush=True)
            for way in ("order", "sorted"):
                np.testing.assert_allclose(peers.means[way], peers.means["ours"], atol=1e-4)
        peers.close()
    print(
        f"{fasta.name}, 8M, torch {torch.__version__}, {arguments.threads} threads, float32; residues per CPU-second"
    )
    for way, values in rates.items():
        print(f"  {way:8} {statistics.median(values):8.0f}   (min {min(values):.0f}, max {max(values):.0f})")
    for way, bar in BARS.items():
        if way in rates:
            ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[way], strict=True)]
            print(f"ours / {way:8} {statistics.median(ratios):.2f}   (min {min(ratios):.2f}; bar {bar})")


if __name__ == "__main__":
    sys.exit(main())
