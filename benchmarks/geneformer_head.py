# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What Geneformer's masked-token head costs: logits of the masked tokens alone, against logits of every token.

    python benchmarks/geneformer_head.py [--size V1-10M] [--tokens 4096] [--device cpu]

One training step (forward, loss, backward) of a pack of whole cells, and the head with its loss alone. Both ways give
the same loss. Each runs in an interpreter of its own, so that its peak of memory is its own. On a CPU seconds are
those of one thread's work, so that other processes do not count.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

from bionemo.geneformer.api import build_geneformer, geneformer_config
from bionemo.geneformer.model.sizes import GENEFORMER_SIZES


WAYS = ("masked", "all")
MASK_SHARE = 0.15


def main() -> int:
    """Print time and memory of both ways."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="V1-10M", choices=tuple(GENEFORMER_SIZES))
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return 0
    results = {}
    for way in WAYS:
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--way", way], capture_output=True, text=True)
        if done.returncode:
            sys.stderr.write(done.stderr)
            return 1
        results[way] = json.loads(done.stdout.strip().splitlines()[-1])
    masked, everything = results["masked"], results["all"]
    print(f"{arguments.size}, {arguments.tokens} tokens, {masked['labels']} masked; torch {torch.__version__}")
    for name, unit in (("step_s", "s"), ("head_s", "s"), ("logits_mb", "MB"), ("peak_mb", "MB")):
        few, many = masked[name], everything[name]
        text = f"masked tokens {few:8.2f} {unit:2s}  every token {many:8.2f} {unit:2s}  ratio {many / few:5.1f}"
        print(f"{name:10s} {text}")
    print(f"loss       {masked['loss']:.5f} and {everything['loss']:.5f}")
    return int(abs(masked["loss"] - everything["loss"]) > 1e-4)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Run one way: CPU seconds (GPU: seconds) of the median step and of its head, memory in MB."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    device = torch.device(arguments.device)
    config = geneformer_config(arguments.size, hidden_dropout=0.0, attention_dropout=0.0)
    model = build_geneformer(config).model.to(device).train()
    length = min(config.seq_length, 2048, arguments.tokens)
    tokens = arguments.tokens // length * length
    ids = torch.randint(5, config.vocab_size, (tokens,), device=device)
    labels = ids.masked_fill(torch.rand(tokens, device=device) >= MASK_SHARE, -100)
    rows = (labels != -100).nonzero().squeeze(1) if arguments.way == "masked" else torch.arange(tokens, device=device)
    pack = (
        ids.masked_fill(labels != -100, 1),
        torch.arange(length, device=device).repeat(tokens // length),
        torch.arange(0, tokens + 1, length, dtype=torch.int32, device=device),
        length,
    )

    def loss_of(logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits.float(), labels[rows], ignore_index=-100)

    def step() -> float:
        loss = loss_of(model.forward_packed(*pack, num_tokens=tokens, logit_rows=rows).token_logits)
        loss.backward()
        return loss.item()

    hidden = torch.randn(tokens, config.hidden_size, device=device, requires_grad=True)

    def head() -> float:
        loss = loss_of(model.logits(hidden[rows]))
        loss.backward()
        return loss.item()

    head_s, _ = median_s(head, arguments.runs, device)
    step_s, loss = median_s(step, arguments.runs, device)
    if device.type == "cuda":
        peak_mb = torch.cuda.max_memory_allocated(device) / 1e6
    else:
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {
        "step_s": step_s,
        "head_s": head_s,
        "logits_mb": len(rows) * config.vocab_size * 4 / 1e6,
        "peak_mb": peak_mb,
        "loss": loss,
        "labels": int((labels != -100).sum()),
    }


def median_s(work, runs: int, device: torch.device) -> tuple[float, float]:
    """Median seconds of some runs after one that warms up, and the last result."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times = []
    result = work()
    for _ in range(runs):
        started = clock()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - started)
    return statistics.median(times), result


if __name__ == "__main__":
    sys.exit(main())
