# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of all single mutants by masked marginals: this package beside transformers and biotrainer.

    python benchmarks/esm2_variants.py [--rounds 3] [--biotrainer-python PYTHON] [--parts one biotrainer exact many]

ESM-2 8M, float32, one thread, random weights: their values do not change the work. Rates are tokens of masked copies
per CPU-second, because cores may be shared; in each round the ways alternate on the same positions, and ratios are
medians over the rounds.

- one protein: 286 residues, 5,434 mutants (beta-lactamase P62593 where it is present). ours: the scorer of
  `score_variants_esm2`. HF: EsmForMaskedLM, sdpa, masked copies in batches of 32, logits of all tokens as it gives
  them. A round takes --positions of the 286 masked positions, each round others.
- exact: scores of a whole scan against EsmForMaskedLM in float64, eager attention, one position at a time: 1e-4.
- biotrainer 2.1.1: its `zero_shot_masked_marginals` of all mutants, in an environment of its own (Python 3.12:
  pip install biotrainer==2.1.1 requests), in turn with ours. Left out, with a word, where there is none.
- 50 proteins of natural lengths, cut at 1,022 residues: every protein's copies in HF batches of 32 (one batch of
  each protein is timed); the sum over all, and the protein with the smallest ratio.
"""

import argparse
import csv
import gzip
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np


warnings.filterwarnings("ignore")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch  # noqa: E402 - after the switches above
from transformers import EsmForMaskedLM  # noqa: E402

from bionemo.esm2.api import build_esm2, esm2_config, save_esm2  # noqa: E402
from bionemo.esm2.data.fasta_records import encode_residues  # noqa: E402
from bionemo.esm2.data.sequence_store_writer import open_or_build_store  # noqa: E402
from bionemo.esm2.variants.masked_copies import ForwardOptions, Masked, MaskedCopies  # noqa: E402
from bionemo.esm2.variants.scoring import ScoreOptions, VariantScorer, scan  # noqa: E402
from bionemo.esm2.variants.wild_types import WildType  # noqa: E402
from bionemo.testing.data.fasta import write_fasta  # noqa: E402
from bionemo.testing.proteins import make_proteins  # noqa: E402


SHARED = Path(__file__).resolve().parents[2] / "shared/data"
LACTAMASE, UNIREF = SHARED / "beta_lactamase_P62593_variants.csv.gz", SHARED / "uniref90_9k.fasta.gz"
LENGTH, BATCH_SIZE, MASK, MAX_RESIDUES = 286, 32, 32, 1022
PARTS = ("one", "biotrainer", "exact", "many")
BAR_HF, BAR_BIOTRAINER, BAR_WORST, TOLERANCE = 1.2, 1.5, 1.0, 1e-4

BIOTRAINER = r"""
import sys, time, warnings
warnings.filterwarnings("ignore")
import torch
from transformers import AutoTokenizer, EsmForMaskedLM
from biotrainer.bioengineer.bioengineer import BioEngineer
from biotrainer.bioengineer.models import ESM2Engineer

folder, sequence, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
model = EsmForMaskedLM.from_pretrained(folder).eval()
engineer = BioEngineer.from_custom_model(
    ESM2Engineer("esm2", model, AutoTokenizer.from_pretrained(folder), torch.device("cpu"))
)
letters = "ACDEFGHIKLMNPQRSTVWY"
mutants = [f"{old}{place}{new}" for place, old in enumerate(sequence, 1) for new in letters if new != old]
for line in sys.stdin:
    start = time.process_time()
    scores = engineer.zero_shot_masked_marginals(sequence, mutants)
    print(time.process_time() - start, scores[0].total_score, scores[-1].total_score, flush=True)
"""


def lactamase() -> str:
    """Return the wild type of the shared variants, or a generated protein of its length."""
    if not LACTAMASE.exists():
        return make_proteins(1, min_length=LENGTH, max_length=LENGTH)[0]
    with gzip.open(LACTAMASE, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    letters = {int(row["mutant"][1:-1]): row["mutant"][0] for row in rows}
    sequence = list(rows[0]["sequence"])
    for position, letter in letters.items():
        sequence[position - 1] = letter
    return "".join(sequence)


class HuggingFace:
    """Masked copies of one protein in batches of 32."""

    def __init__(self, folder: str) -> None:
        self.model = EsmForMaskedLM.from_pretrained(folder, attn_implementation="sdpa").eval()

    def __call__(self, residues: bytes, places: np.ndarray) -> np.ndarray:
        """Log probabilities [P, 33] at masked places."""
        tokens = np.frombuffer(b"\0" + residues + b"\2", dtype=np.uint8).astype(np.int64)
        found = []
        for start in range(0, len(places), BATCH_SIZE):
            part = places[start : start + BATCH_SIZE]
            copies = np.tile(tokens, (len(part), 1))
            copies[np.arange(len(part)), part + 1] = MASK
            with torch.inference_mode():
                logits = self.model(torch.from_numpy(copies)).logits
            found.append(logits[torch.arange(len(part)), torch.from_numpy(part + 1)].log_softmax(-1))
        return torch.cat(found).numpy()


def cpu_seconds(work, *arguments: object) -> tuple[float, object]:
    """Run and return CPU-seconds of the whole process and the result."""
    start = time.process_time()
    result = work(*arguments)
    return time.process_time() - start, result


def ours(copies: MaskedCopies, residues: bytes, places: np.ndarray) -> np.ndarray:
    """Log probabilities [P, 33] at masked places."""
    return np.concatenate(copies.answer([Masked(residues, (int(place),)) for place in places]))


def scan_scores(copies: MaskedCopies, sequence: str) -> np.ndarray:
    """Scores of all single mutants, as `score_variants_esm2` computes them."""
    scorer = VariantScorer(scan(WildType("protein", ("protein",), (sequence,))), ScoreOptions())
    return np.array([each.score for each in scorer.scores(copies.answer(scorer.questions))])


def exact_scores(folder: str, sequence: str) -> np.ndarray:
    """The same in float64, one position at a time."""
    model = EsmForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval().double()
    residues = encode_residues("protein", sequence, "error")
    scores = []
    for place, residue in enumerate(residues):
        tokens = torch.tensor([[0, *residues, 2]])
        tokens[0, place + 1] = MASK
        with torch.inference_mode():
            row = model(tokens).logits[0, place + 1].log_softmax(-1)
        letters = [encode_residues("letter", letter, "error")[0] for letter in "ACDEFGHIKLMNPQRSTVWY"]
        scores += [float(row[new] - row[residue]) for new in letters if new != residue]
    return np.array(scores)


def verdict(value: float, bar: float) -> str:
    """Say whether a ratio meets its bar."""
    return f"bar {bar}: {'met' if value >= bar else 'MISSED'}"


def compare_one(copies: MaskedCopies, peer: HuggingFace, sequence: str, rounds: int, num_positions: int) -> bool:
    """Print both rates on one protein; returns whether the bar is met."""
    residues = encode_residues("protein", sequence, "error")
    order = np.random.default_rng(0).permutation(len(sequence))
    rates: dict[str, list[float]] = {"ours": [], "HF": []}
    for number in range(rounds):
        places = np.roll(order, -number * num_positions)[:num_positions]
        num_tokens = len(places) * (len(sequence) + 2)
        for name in ("ours", "HF") if number % 2 else ("HF", "ours"):
            work = (ours, copies, residues, places) if name == "ours" else (peer, residues, places)
            seconds, _ = cpu_seconds(*work)
            rates[name].append(num_tokens / seconds)
    for name, values in rates.items():
        print(f"  {name:22} {statistics.median(values):8.0f} tokens per CPU-second")
    ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates["HF"], strict=True))
    print(f"  ours / HF              {ratio:8.2f}   ({verdict(ratio, BAR_HF)})", flush=True)
    return ratio >= BAR_HF


def compare_biotrainer(copies: MaskedCopies, folder: str, sequence: str, rounds: int, python: str | None) -> bool:
    """Print seconds of a whole scan beside biotrainer's; returns whether the bar is met or nothing was compared."""
    if python is None:
        print("  biotrainer             left out: no environment with biotrainer 2.1.1 (--biotrainer-python)")
        return True
    command = [python, "-c", BIOTRAINER, folder, sequence, str(rounds)]
    ratios = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for _ in range(rounds):
            child.stdin.write("\n")
            child.stdin.flush()
            theirs = child.stdout.readline().split()
            if not theirs:
                print(f"  biotrainer             left out: {python} cannot run biotrainer 2.1.1")
                return True
            seconds, scores = cpu_seconds(scan_scores, copies, sequence)
            ratios.append(float(theirs[0]) / seconds)
            assert abs(scores[0] - float(theirs[1])) < 1e-3
            assert abs(scores[-1] - float(theirs[2])) < 1e-3
        child.stdin.close()
    ratio = statistics.median(ratios)
    print(f"  scan of {19 * len(sequence)} mutants: ours {seconds:.1f}, biotrainer {float(theirs[0]):.1f} CPU-seconds")
    print(f"  ours / biotrainer      {ratio:8.2f}   ({verdict(ratio, BAR_BIOTRAINER)})", flush=True)
    return ratio >= BAR_BIOTRAINER


def compare_many(copies: MaskedCopies, peer: HuggingFace, fasta: Path, folder: str, num_proteins: int) -> bool:
    """Print the ratio over proteins of natural lengths; returns whether both bars are met."""
    if not fasta.exists():
        fasta = Path(folder) / "generated.fasta"
        write_fasta(fasta, make_proteins(200, min_length=40, max_length=1400))
    store = open_or_build_store(fasta, Path(folder) / "store")
    totals, ratios = {"ours": 0.0, "HF": 0.0}, []
    for number, idx in enumerate(np.random.default_rng(0).permutation(len(store))[:num_proteins]):
        residues = store.gather(np.array([idx]))[1:-1][:MAX_RESIDUES].astype(np.uint8).tobytes()
        places = np.arange(len(residues))[:BATCH_SIZE]
        seconds = {}
        for name in ("ours", "HF") if number % 2 else ("HF", "ours"):
            work = (ours, copies, residues, places) if name == "ours" else (peer, residues, places)
            seconds[name] = cpu_seconds(*work)[0] * len(residues) / len(places)
        ratios.append((seconds["HF"] / seconds["ours"], len(residues)))
        for name, value in seconds.items():
            totals[name] += value
    total = totals["HF"] / totals["ours"]
    worst, length = min(ratios)
    print(
        f"{num_proteins} proteins of {min(r[1] for r in ratios)} to {max(r[1] for r in ratios)} residues, {fasta.name}"
    )
    print(f"  whole scans            ours {totals['ours']:.0f}, HF {totals['HF']:.0f} CPU-seconds")
    print(f"  ours / HF in sum       {total:8.2f}   ({verdict(total, BAR_HF)})")
    print(f"  smallest of a protein  {worst:8.2f}   ({verdict(worst, BAR_WORST)}; {length} residues)", flush=True)
    return total >= BAR_HF and worst >= BAR_WORST


def main() -> int:
    """Measure and print; returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description="Masked marginals of ESM-2 8M on a CPU beside its peers.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--positions", type=int, default=96, help="masked positions of a round")
    parser.add_argument("--proteins", type=int, default=50)
    parser.add_argument("--biotrainer-python", help="interpreter of an environment with biotrainer 2.1.1")
    parser.add_argument("--biotrainer-rounds", type=int, default=1, help="whole scans beside biotrainer")
    parser.add_argument("--fasta", type=Path, default=UNIREF, help="proteins; generated ones where it is absent")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to compare; default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    module = build_esm2(esm2_config("8M"))
    copies = MaskedCopies(module, ForwardOptions())
    sequence = lactamase()
    with TemporaryDirectory() as folder:
        checkpoint = f"{folder}/model"
        save_esm2(module, checkpoint)
        peer = HuggingFace(checkpoint)
        warm = encode_residues("protein", sequence[:64], "error")
        ours(copies, warm, np.arange(32))
        peer(warm, np.arange(32))
        print(f"ESM-2 8M, torch {torch.__version__}, one thread, float32, {os.cpu_count()} cores")
        print(f"one protein of {len(sequence)} residues, {19 * len(sequence)} mutants, masked marginals")
        met = []
        if "one" in arguments.parts:
            met.append(compare_one(copies, peer, sequence, arguments.rounds, arguments.positions))
        if "biotrainer" in arguments.parts:
            rounds, python = arguments.biotrainer_rounds, arguments.biotrainer_python
            met.append(compare_biotrainer(copies, checkpoint, sequence, rounds, python))
        if "exact" in arguments.parts:
            error = float(np.abs(scan_scores(copies, sequence) - exact_scores(checkpoint, sequence)).max())
            met.append(error <= TOLERANCE)
            print(
                f"  largest difference to float64, one position at a time: {error:.1e} (bar {TOLERANCE:.0e})",
                flush=True,
            )
        if "many" in arguments.parts:
            met.append(compare_many(copies, peer, arguments.fasta, folder, arguments.proteins))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
