# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Speed of ESM-2 on one GPU against Hugging Face: one process for each competitor, one table at the end.

    python benchmarks/esm2_gpu.py [--sizes 8M 150M 650M 3B] [--seconds 1800] [--out results.json]
    python benchmarks/esm2_gpu.py --profile 650M     where the time of one of our steps goes, kernel by kernel

Training: float32 masters, bf16 compute, clipping and AdamW included, on 32,768 tokens a step of two kinds:
  natural   122 sequences with the lengths of UniRef proteins (32,432 tokens, the longest 1,024)
  full      32 sequences of 1,024
Competitors:
  ours      what `train_esm2` runs on a GPU: packs, compiled layers, bf16 copies of the weights, the attention kernel
            named; "graph": replayed as CUDA graphs
  hf        EsmForMaskedLM, sdpa, autocast; "random": micro-batches padded to their longest sequence in random order,
            "grouped": sorted by length first, the better of 8 and 16 thousand tokens a micro-batch
Inference ("embed") gives the last hidden states of the same sequences.

Tokens are those of sequences, never padding. TFLOP/s follow 6 * (L * (12 D^2 + 2 S D) + D^2 + 33 D) a token, 2 instead
of 6 for inference, S = sum(len^2) / sum(len); the share is that of an 8192^3 bf16 product measured in the same run.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


warnings.filterwarnings("ignore")

import torch  # noqa: E402 - after the switch above


BUDGET, MAX_TOKENS = 32_768, 1024
SHAPES = {
    "8M": (6, 320, 20),
    "35M": (12, 480, 20),
    "150M": (30, 640, 20),
    "650M": (33, 1280, 20),
    "3B": (36, 2560, 40),
}
GRAPHED = ("8M", "35M")
"""Sizes whose kernels are shorter than the time to launch them."""
STEPS, WARM_UP_STEPS = 10, 4


def natural_lengths() -> list[int]:
    """Lengths in tokens of 122 proteins, log-normal like UniRef's."""
    generator = torch.Generator().manual_seed(0)
    lengths: list[int] = []
    while sum(lengths) < BUDGET - 600:
        residues = torch.exp(torch.randn(1, generator=generator) * 0.75 + math.log(220)).long().clamp(30, 1022)
        lengths.append(int(residues) + 2)
    return lengths


LENGTHS = {"natural": natural_lengths(), "full": [MAX_TOKENS] * 32}


def tflop(size: str, data: str, *, passes: int) -> float:
    """TFLOP of all tokens of one step."""
    layers, hidden, _ = SHAPES[size]
    lengths = LENGTHS[data]
    attended = sum(n * n for n in lengths) / sum(lengths)
    per_token = layers * (12 * hidden**2 + 2 * attended * hidden) + hidden**2 + 33 * hidden
    return passes * 2 * per_token * sum(lengths) / 1e12


def median_seconds(step: Callable[[], Any], steps: int = STEPS) -> float:
    """Median duration of a step, each closed by waiting for the device."""
    for _ in range(WARM_UP_STEPS):
        step()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure(name: str, size: str, data: str, step: Callable[[], Any], *, passes: int = 3) -> dict[str, Any]:
    """Time a step and describe it."""
    torch.cuda.reset_peak_memory_stats()
    seconds = median_seconds(step)
    return {
        "name": name,
        "size": size,
        "data": data,
        "tokens_per_s": sum(LENGTHS[data]) / seconds,
        "tflops": tflop(size, data, passes=passes) / seconds,
        "gib": torch.cuda.max_memory_allocated() / 2**30,
    }


def optimizer_step(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Clip, step and forget the gradients, as every competitor does."""
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


# ours


def make_pack(lengths: list[int]) -> Any:
    """A masked pack of random residues, longest sequence first as the sampler's packs are."""
    from bionemo.esm2.data.packed_dataset import build_masking
    from bionemo.llm.data.packing import build_packed_batch

    rng = np.random.default_rng(1)
    lengths = sorted(lengths, reverse=True)
    tokens = rng.integers(4, 24, size=sum(lengths))
    ends = np.cumsum(lengths)
    tokens[np.concatenate(([0], ends[:-1]))], tokens[ends - 1] = 0, 2
    return build_packed_batch(
        tokens, np.array(lengths, dtype=np.int64), np.arange(len(lengths), dtype=np.int64),
        max_tokens=BUDGET, pad_token_id=1, masking=build_masking(seed=1),
    )  # fmt: skip


def build_ours(size: str, kernel: str, *, graphs: bool = False) -> tuple[Any, Any, dict[str, Any]]:
    """Build the model of `train_esm2 --compile`, how it runs a batch, and the batches."""
    from bionemo.esm2.api import build_esm2, esm2_config
    from bionemo.llm.static_forward import StaticForwardStep, StaticShapes

    model = build_esm2(esm2_config(size)).model.cuda().train()
    model.attention_kernel = kernel
    for layer in model.encoder.layers:
        layer.compile()
    forward = StaticForwardStep(max_seqlen=MAX_TOKENS, weight_dtype=torch.bfloat16, cuda_graphs=graphs)
    packs = {data: StaticShapes(MAX_TOKENS)(make_pack(lengths)) for data, lengths in LENGTHS.items()}
    return model, forward, packs


def steps_of_ours(model: Any, forward: Any, packs: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """A training step on each pack, with one optimizer."""
    from bionemo.llm.lightning import packed_loss
    from bionemo.llm.optimizer import OptimizerConfig, build_optimizer

    optimizer = build_optimizer(model, OptimizerConfig())
    parameters = [p for p in model.parameters() if p.requires_grad]
    steps = {}
    for data, pack in packs.items():
        batch = {key: value.cuda() if isinstance(value, torch.Tensor) else value for key, value in pack.items()}

        def step(batch: Any = batch) -> None:
            loss, count = packed_loss(batch, forward(model, batch))
            (loss / count).backward()
            optimizer_step(parameters, optimizer)

        steps[data] = step
    return steps


def ours(size: str, kernel: str, *, graphs: bool = False) -> Iterator[dict[str, Any]]:
    """Train on packs with the module of `train_esm2`, then embed."""
    model, forward, packs = build_ours(size, kernel, graphs=graphs)
    steps = steps_of_ours(model, forward, packs)
    for data, step in steps.items():
        yield measure(f"ours {kernel}{' graph' if graphs else ''}", size, data, step)
    del step
    steps.clear()  # and with them the optimizer's state
    model.zero_grad(set_to_none=True)
    model.bfloat16().eval()
    pack = packs["natural"]
    yield measure(f"ours {kernel} embed", size, "natural", lambda: embed_ours(model, pack), passes=1)


def profile_ours(size: str, kernel: str, most: int = 40) -> str:
    """List the kernels of one training step by their time."""
    from torch.profiler import ProfilerActivity, profile

    step = steps_of_ours(*build_ours(size, kernel))["natural"]
    for _ in range(WARM_UP_STEPS):
        step()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        step()
        torch.cuda.synchronize()
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_device_time_total)
    lines = [f"{sum(event.self_device_time_total for event in events) / 1e3:8.2f} ms  in all"]
    lines += [f"{e.self_device_time_total / 1e3:8.2f} ms  {e.count:5d} x  {e.key[:140]}" for e in events[:most]]
    return "\n".join(lines)


@torch.no_grad()
def embed_ours(model: Any, pack: Any) -> torch.Tensor:
    """Last hidden states of a pack, copied to the device as in use."""
    inputs = [pack[name].cuda() for name in ("input_ids", "position_ids", "cu_seqlens")]
    hidden: torch.Tensor = model.forward_packed(*inputs, MAX_TOKENS, num_tokens=BUDGET, skip_logits=True).hidden_states
    return hidden


# Hugging Face


def micro_batches(lengths: list[int], budget: int, *, pad_to: int | None = None) -> list[tuple[torch.Tensor, ...]]:
    """Cut sequences into padded micro-batches of at most a number of places."""
    groups: list[list[int]] = [[]]
    for length in lengths:
        widest = -(-max([*groups[-1], length]) // 32) * 32
        if groups[-1] and widest * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(length)
    batches = []
    generator = torch.Generator().manual_seed(1)
    for group in groups:
        width = -(-max(group) // 32) * 32
        input_ids = torch.randint(4, 24, (len(group), width), generator=generator)
        mask = torch.arange(width) < torch.tensor(group)[:, None]
        labels = input_ids.where(mask & (torch.rand(input_ids.shape, generator=generator) < 0.15), -100)
        input_ids = input_ids.masked_fill(~mask, 1)
        batches.append((input_ids.cuda(), mask.long().cuda(), labels.cuda()))
    return batches


def hugging_face(size: str, *, compiled: bool = True) -> Iterator[dict[str, Any]]:
    """Train with transformers' model on padded micro-batches, then embed."""
    from transformers import EsmConfig, EsmForMaskedLM

    layers, hidden, heads = SHAPES[size]
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * hidden, max_position_embeddings=1026,
        position_embedding_type="rotary", emb_layer_norm_before=False, token_dropout=True, layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model: Any = EsmForMaskedLM(config).cuda().train()
    if compiled:
        torch._dynamo.config.recompile_limit = 64
        for layer in model.esm.encoder.layer:
            layer.compile(dynamic=True)
    natural, kind = LENGTHS["natural"], "compiled" if compiled else "eager"
    variants = {
        "grouped 8k": ("natural", micro_batches(sorted(natural, reverse=True), 8192)),
        "grouped 16k": ("natural", micro_batches(sorted(natural, reverse=True), 16_384)),
        "random 32": ("natural", micro_batches(natural, 32 * MAX_TOKENS)),
        "full": ("full", micro_batches(LENGTHS["full"], 32 * MAX_TOKENS)),
    }
    yield from train_hugging_face(f"hf {kind}", size, model, variants)
    model.zero_grad(set_to_none=True)
    model.bfloat16().eval()
    for name in ("grouped 16k", "random 32"):
        batches = variants[name][1]

        @torch.no_grad()
        def embed(batches: Any = batches) -> None:
            for input_ids, mask, _ in batches:
                model.esm(input_ids=input_ids, attention_mask=mask)

        yield measure(f"hf {kind} embed {name}", size, "natural", embed, passes=1)


def train_hugging_face(kind: str, size: str, model: Any, variants: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time training steps on each way to batch."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    for name, (data, batches) in variants.items():

        def step(batches: Any = batches) -> None:
            for input_ids, mask, labels in batches:
                with torch.autocast("cuda", torch.bfloat16):
                    loss = model(input_ids=input_ids, attention_mask=mask, labels=labels).loss
                (loss / len(batches)).backward()
            optimizer_step(parameters, optimizer)

        yield measure(f"{kind} {name}", size, data, step)


# One process each


def matmul_ceiling() -> float:
    """TFLOP/s of an 8192^3 bf16 product on random data."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / median_seconds(lambda: a @ b, 30) / 1e12


def run_one(competitor: str) -> None:
    """Print one JSON line for each measurement of a competitor; it is named as in `competitors`."""
    if competitor == "ceiling":
        print(json.dumps({"name": "ceiling", "tflops": matmul_ceiling()}), flush=True)
        return
    kind, size, *rest = competitor.split()
    if kind == "ours":
        rows = ours(size, rest[0], graphs="graph" in rest)
    else:
        rows = hugging_face(size, compiled="eager" not in rest)
    for row in rows:
        print(json.dumps(row), flush=True)


def competitors(sizes: list[str], kernels: list[str]) -> list[str]:
    """Name every competitor of the chosen sizes, the most telling first."""
    names = ["ceiling"]
    for size in sizes:
        names += [f"ours {size} {kernels[0]}{' graph' if size in GRAPHED else ''}"]
        if size != "3B":
            names += [f"hf {size}"]
        names += [f"ours {size} {kernel}" for kernel in (kernels if size in GRAPHED else kernels[1:])]
    return names


def installed_kernels() -> list[str]:
    """Attention kernels whose packages are there, fastest first."""
    from bionemo.llm.model.varlen.kernels import KERNELS, is_installed

    return [name for name in KERNELS if is_installed(name)]


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the measurements out in Markdown."""
    ceiling = next((row["tflops"] for row in rows if row["name"] == "ceiling"), float("nan"))
    lines = [
        f"matmul ceiling {ceiling:.0f} TFLOP/s",
        "",
        "| size | data | competitor | tokens/s | TFLOP/s | of ceiling | peak GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["name"] == "ceiling":
            continue
        lines.append(
            f"| {row['size']} | {row['data']} | {row['name']} | {row['tokens_per_s']:,.0f} | {row['tflops']:.0f} | "
            f"{row['tflops'] / ceiling:.0%} | {row['gib']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run every competitor in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["650M", "8M", "150M", "3B"], choices=tuple(SHAPES))
    parser.add_argument("--kernels", nargs="+", default=None, help="attention kernels, default: all installed")
    parser.add_argument("--seconds", type=float, default=1800, help="stop starting competitors after this time")
    parser.add_argument("--out", type=Path, default=None, help="JSON file of all measurements")
    parser.add_argument("--profile", choices=tuple(SHAPES), default=None, help="list the kernels of one of our steps")
    parser.add_argument("--only", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run_one(arguments.only)
        return
    if not torch.cuda.is_available():
        sys.exit("esm2_gpu.py: error: this benchmark needs a GPU, found none.")
    if arguments.profile:
        print(profile_ours(arguments.profile, (arguments.kernels or ["auto"])[0]))
        return
    start, rows = time.monotonic(), []
    for name in competitors(arguments.sizes, arguments.kernels or installed_kernels()):
        left = arguments.seconds - (time.monotonic() - start)
        if left <= 0:
            print(f"no time left for: {name}", file=sys.stderr)
            continue
        process = subprocess.Popen([sys.executable, __file__, "--only", name], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            rows.append(json.loads(line))
            print(line, end="", file=sys.stderr, flush=True)
            if arguments.out is not None:
                arguments.out.write_text(json.dumps({"gpu": torch.cuda.get_device_name(), "rows": rows}, indent=1))
        print(f"{name}: exit {process.wait()}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n{table(rows)}")


if __name__ == "__main__":
    main()
