# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Speed of ESM-2 on one GPU against Hugging Face: one process for each competitor, one table at the end.

    python benchmarks/esm2_gpu.py --plan                          what is measured, with predicted seconds
    python benchmarks/esm2_gpu.py --out results.json              measure what is missing there, for --seconds at most
    python benchmarks/esm2_gpu.py --out results.json --report     tables and bars in Markdown, no GPU needed
    python benchmarks/esm2_gpu.py --profile 650M                  where the time of one of our steps goes

Every row is written as soon as it is measured, so calls are repeated until nothing is missing: 25 minutes in all, in
three calls. `--sizes` and `--rows` (parts of names) select. A competitor that takes twice its predicted time is ended,
its rows so far are kept.

Training: clipping and AdamW included, on 32,768 tokens a step of two kinds:
  natural   122 sequences with the lengths of UniRef proteins (32,432 tokens, the longest 1,024)
  full      32 sequences of 1,024
Competitors, with float32 masters and bf16 compute, or "pure": bf16 weights and optimizer:
  ours      what `train_esm2 --compile` runs: packs, compiled layers, bf16 copies of the weights, the attention kernel
            named; "graph": replayed as CUDA graphs; "fat": layers keep norms and GELU for the backward pass
  hf        EsmForMaskedLM, sdpa, autocast; "random": micro-batches of 32 padded to their longest sequence, "grouped":
            sorted by length first, 8 or 16 thousand tokens a micro-batch
Embedding ("embed") gives the last hidden states of the same sequences with bf16 weights.

Tokens are those of sequences, never padding. TFLOP/s follow 6 * (L * (12 D^2 + 2 S D) + D^2 + 33 D) a token, 2 instead
of 6 for embedding, S = sum(len^2) / sum(len); the share is that of an 8192^3 bf16 product measured in the same call.
"""

import argparse
import contextlib
import itertools
import json
import math
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


warnings.filterwarnings("ignore")

import torch  # noqa: E402 - after the switch above


SHAPES = {
    "8M": (6, 320, 20),
    "150M": (30, 640, 20),
    "650M": (33, 1280, 20),
    "3B": (36, 2560, 40),
}


class Scale(NamedTuple):
    """What differs between a measurement and a rehearsal of its code on a CPU."""

    device: str = "cuda"
    budget: int = 32_768
    max_tokens: int = 1024
    shapes: dict[str, tuple[int, int, int]] = SHAPES
    backend: str = "inductor"
    matmul: int = 8192
    steps: int = 10
    warm_up_steps: int = 4


SCALE = Scale()
REHEARSAL = Scale("cpu", 256, 64, dict.fromkeys(SHAPES, (2, 32, 4)), "aot_eager", 64, 2, 1)
ROW_SECONDS = 40
"""A row ends after this time with the steps that it has, at least two."""

COMPETITORS = {
    "ours 650M auto": 90, "hf 650M compiled": 180, "ours 650M torch": 70,
    "ours 8M auto graph": 75, "hf 8M compiled": 120, "ours 8M torch graph": 60,
    "ours 150M auto": 70, "hf 150M compiled": 150, "ours 150M torch": 60,
    "ours 3B auto": 110,
    "ours 650M auto fat": 60, "ours 650M cudnn": 65, "hf 650M eager": 65, "hf 150M eager": 40, "hf 8M eager": 35,
    "ours 650M auto pure": 60, "hf 650M compiled pure": 100,
}  # fmt: skip
"""What is measured, most telling first, and the predicted seconds of each with the start of its process."""
CEILING_SECONDS = 20


def natural_lengths(budget: int, max_tokens: int) -> list[int]:
    """Lengths in tokens of proteins, log-normal like UniRef's."""
    generator = torch.Generator().manual_seed(0)
    lengths: list[int] = []
    while sum(lengths) < budget - min(600, max_tokens):
        residues = torch.exp(torch.randn(1, generator=generator) * 0.75 + math.log(220)).long()
        lengths.append(int(residues.clamp(min(30, max_tokens // 4), max_tokens - 2)) + 2)
    return lengths


def lengths_of(data: str) -> list[int]:
    """Sequence lengths of a kind of batch."""
    if data == "natural":
        return natural_lengths(SCALE.budget, SCALE.max_tokens)
    return [SCALE.max_tokens] * (SCALE.budget // SCALE.max_tokens)


def tflop(size: str, data: str, *, passes: int) -> float:
    """TFLOP of all tokens of one step."""
    layers, hidden, _ = SCALE.shapes[size]
    lengths = lengths_of(data)
    attended = sum(n * n for n in lengths) / sum(lengths)
    per_token = layers * (12 * hidden**2 + 2 * attended * hidden) + hidden**2 + 33 * hidden
    return passes * 2 * per_token * sum(lengths) / 1e12


def wait() -> None:
    """Wait for the device."""
    if SCALE.device == "cuda":
        torch.cuda.synchronize()


def time_steps(step: Callable[[], Any]) -> list[float]:
    """Seconds of each step, issued one after the other as in training, until there are enough or time is over."""
    end = time.monotonic() + ROW_SECONDS
    for _ in range(SCALE.warm_up_steps):
        step()
        wait()
        if time.monotonic() > end:
            break
    marks = [mark()]
    while len(marks) <= SCALE.steps and (len(marks) <= 2 or time.monotonic() < end):
        step()
        marks.append(mark())
    wait()
    return [seconds_between(*pair) for pair in itertools.pairwise(marks)]


def mark() -> Any:
    """A moment of the device's work: on a GPU an event, else the time."""
    if SCALE.device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(before: Any, after: Any) -> float:
    """Seconds from one moment to another."""
    return after - before if SCALE.device != "cuda" else before.elapsed_time(after) / 1e3


def measure(size: str, data: str, what: str, step: Callable[[], Any], *, passes: int = 3) -> dict[str, Any]:
    """Time a step and describe it."""
    on_gpu = SCALE.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = time_steps(step)
    return {
        "size": size,
        "data": data,
        "what": what,
        "steps": len(seconds),
        "tokens_per_s": sum(lengths_of(data)) / statistics.median(seconds),
        "tflops": tflop(size, data, passes=passes) / statistics.median(seconds),
        "gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0,
    }


def optimizer_step(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Clip, step and forget the gradients."""
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
        max_tokens=SCALE.budget, pad_token_id=1, masking=build_masking(seed=1),
    )  # fmt: skip


def build_ours(size: str, kernel: str, options: list[str]) -> tuple[Any, Any, dict[str, Any]]:
    """Build the model of `train_esm2 --compile`, how it runs a batch, and the batches."""
    from bionemo.esm2.api import build_esm2, esm2_config
    from bionemo.llm.model.compiled import compile_layers
    from bionemo.llm.training.static_forward import StaticForwardStep, StaticShapes

    layers, hidden, heads = SCALE.shapes[size]
    config = replace(
        esm2_config(size), num_layers=layers, hidden_size=hidden, num_attention_heads=heads, ffn_hidden_size=4 * hidden
    )
    model = build_esm2(config).model.to(SCALE.device).train()
    model.attention_kernel = kernel
    pure = "pure" in options
    if pure:
        model.bfloat16()
    if "fat" in options:
        for layer in model.encoder.layers:
            layer.compile(backend=SCALE.backend)
    else:
        compile_layers(model.encoder.layers, backend=SCALE.backend)
    forward = StaticForwardStep(
        max_seqlen=SCALE.max_tokens,
        weight_dtype=None if pure else torch.bfloat16,
        cuda_graphs="graph" in options and SCALE.device == "cuda",
    )
    to_static = StaticShapes(SCALE.max_tokens)
    return model, forward, {data: to_static(make_pack(lengths_of(data))) for data in ("natural", "full")}


def steps_of_ours(model: Any, forward: Any, packs: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """A training step on each pack, with one optimizer."""
    from bionemo.llm.lightning import packed_loss, scale_and_clip
    from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer

    optimizer = build_optimizer(model, OptimizerConfig())
    parameters = [p for p in model.parameters() if p.requires_grad]
    steps = {}
    for data, pack in packs.items():
        batch = {
            key: value.to(SCALE.device) if isinstance(value, torch.Tensor) else value for key, value in pack.items()
        }

        def step(batch: Any = batch) -> None:
            loss, count = packed_loss(batch, forward(model, batch))
            loss.backward()
            scale_and_clip([p.grad for p in parameters if p.grad is not None], 1 / count, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        steps[data] = step
    return steps


def ours(size: str, kernel: str, options: list[str]) -> Iterator[dict[str, Any]]:
    """Train on packs with the module of `train_esm2`, then embed."""
    model, forward, packs = build_ours(size, kernel, options)
    steps = steps_of_ours(model, forward, packs)
    for data, step in steps.items():
        yield measure(size, data, "train", step)
    if kernel != "auto" or {"fat", "pure"} & set(options):
        return
    del step
    steps.clear()  # and with them the optimizer's state
    model.zero_grad(set_to_none=True)
    encoder = build_encoder(model)
    for data in packs:
        pack = make_pack(lengths_of(data))
        yield measure(size, data, "embed", lambda pack=pack: embed_ours(encoder, pack), passes=1)  # type: ignore[misc]


def build_encoder(model: Any) -> Any:
    """The model as `infer_esm2 --compile` runs it."""
    from bionemo.llm.model.biobert.inference import PackEncoder

    return PackEncoder(model.eval(), precision="bf16-mixed", max_tokens=SCALE.budget, compile_backend=SCALE.backend)


def embed_ours(encoder: Any, pack: Any) -> torch.Tensor:
    """Last hidden states of a pack, copied to the device as in use."""
    last = len(encoder.model.encoder.layers)
    hidden: torch.Tensor = encoder.encode(encoder.place(pack, SCALE.max_tokens), (last,))[0][last]
    return hidden


def profile_ours(size: str, kernel: str, most: int = 40) -> str:
    """List the kernels of one training step by their time."""
    from torch.profiler import ProfilerActivity, profile

    step = steps_of_ours(*build_ours(size, kernel, []))["natural"]
    for _ in range(SCALE.warm_up_steps):
        step()
    activity = ProfilerActivity.CUDA if SCALE.device == "cuda" else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        step()
        wait()
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_device_time_total)
    lines = [f"{sum(event.self_device_time_total for event in events) / 1e3:8.2f} ms  in all"]
    lines += [f"{e.self_device_time_total / 1e3:8.2f} ms  {e.count:5d} x  {e.key[:140]}" for e in events[:most]]
    return "\n".join(lines)


# Hugging Face


def micro_batches(lengths: list[int], budget: int) -> list[tuple[torch.Tensor, ...]]:
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
        batches.append(tuple(x.to(SCALE.device) for x in (input_ids, mask.long(), labels)))
    return batches


def hugging_face(size: str, options: list[str]) -> Iterator[dict[str, Any]]:
    """Train with transformers' model on padded micro-batches, then embed."""
    from transformers import EsmConfig, EsmForMaskedLM

    layers, hidden, heads = SCALE.shapes[size]
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * hidden, max_position_embeddings=1026,
        position_embedding_type="rotary", emb_layer_norm_before=False, token_dropout=True, layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model: Any = EsmForMaskedLM(config).to(SCALE.device).train()
    pure = "pure" in options
    if pure:
        model.bfloat16()
    if "compiled" in options:
        torch._dynamo.config.recompile_limit = 64
        for layer in model.esm.encoder.layer:
            layer.compile(dynamic=True, backend=SCALE.backend)
    natural, budget = lengths_of("natural"), SCALE.budget
    variants = {
        "grouped 8k": ("natural", micro_batches(sorted(natural, reverse=True), budget // 4)),
        "grouped 16k": ("natural", micro_batches(sorted(natural, reverse=True), budget // 2)),
        "random": ("natural", micro_batches(natural, budget)),
        "full": ("full", micro_batches(lengths_of("full"), budget)),
    }
    yield from train_hugging_face(size, model, variants, pure=pure)
    if pure or "eager" in options:
        return
    model.zero_grad(set_to_none=True)
    model.bfloat16().eval()
    for name in ("grouped 16k", "random", "full"):
        data, batches = variants[name]

        @torch.no_grad()
        def embed(batches: Any = batches) -> None:
            for input_ids, mask, _ in batches:
                model.esm(input_ids=input_ids, attention_mask=mask)

        yield measure(size, data, f"embed {name}", embed, passes=1)


def train_hugging_face(size: str, model: Any, variants: dict[str, Any], *, pure: bool) -> Iterator[dict[str, Any]]:
    """Time training steps on each way to batch."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    for name, (data, batches) in variants.items():

        def step(batches: Any = batches) -> None:
            for input_ids, mask, labels in batches:
                with torch.autocast(SCALE.device, torch.bfloat16, enabled=not pure):
                    loss = model(input_ids=input_ids, attention_mask=mask, labels=labels).loss
                (loss / len(batches)).backward()
            optimizer_step(parameters, optimizer)

        yield measure(size, data, f"train {name}", step)


# One process each


def rows_of(competitor: str) -> Iterator[dict[str, Any]]:
    """Measure a competitor, named as in `COMPETITORS`, or the matmul ceiling."""
    if competitor == "ceiling":
        a, b = (torch.randn(SCALE.matmul, SCALE.matmul, device=SCALE.device, dtype=torch.bfloat16) for _ in range(2))
        seconds = [second for _ in range(3) for second in time_steps(lambda: a @ b)]
        yield {"what": "ceiling", "tflops": 2 * SCALE.matmul**3 / statistics.median(seconds) / 1e12}
        return
    kind, size, first, *rest = competitor.split()
    rows = ours(size, first, rest) if kind == "ours" else hugging_face(size, [first, *rest])
    yield from ({"name": competitor, **row} for row in rows)


@contextlib.contextmanager
def rehearsal() -> Iterator[None]:
    """Run everything on a CPU, in miniature, for the length of the block."""
    from bionemo.testing.exact_attention import exact_attention_kernel

    global SCALE
    before, SCALE = SCALE, REHEARSAL
    try:
        with exact_attention_kernel():
            yield
    finally:
        SCALE = before


def rows_from_process(competitor: str, seconds: float, *, rehearse: bool) -> Iterator[dict[str, Any]]:
    """Measure a competitor in a process of its own, which is ended when its time is over.

    Raises:
        RuntimeError: It failed by itself.
    """
    command = [sys.executable, __file__, "--only", competitor, *(["--rehearse"] if rehearse else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    start = time.monotonic()
    try:
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    finally:
        code = process.wait()
        timer.cancel()
        print(f"{competitor}: exit {code}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    if code > 0:
        raise RuntimeError(f"{competitor} failed; its message is above.")


class Results:
    """The measurements so far, in a JSON file: what ran on, rows, and the competitors that are done.

    Args:
        path: The file; it is read if it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        empty = {"gpu": "", "torch": torch.__version__, "rows": [], "done": []}
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else empty

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row in place of an earlier one of the same name, and write the file."""
        key = ("name", "data", "what")
        rows = [old for old in self.content["rows"] if any(old[k] != row[k] for k in key)]
        self.content["rows"] = [*rows, row]
        self.save()

    def finish(self, competitor: str) -> None:
        """Note that a competitor needs no further run."""
        self.content["done"].append(competitor)
        self.save()

    def save(self) -> None:
        """Write the file."""
        self.path.write_text(json.dumps(self.content, indent=1))


def run(results: Results, competitors: list[str], seconds: float, *, rehearse: bool) -> None:
    """Measure competitors until the time is over, the ceiling first; what would not fit is left for the next call."""
    end = time.monotonic() + seconds
    results.content["gpu"] = "CPU rehearsal" if rehearse else torch.cuda.get_device_name()
    (ceiling,) = rows_from_process("ceiling", seconds, rehearse=rehearse)
    for competitor in competitors:
        left = end - time.monotonic()
        if left < COMPETITORS[competitor]:
            print(f"left for the next call: {competitor}", file=sys.stderr)
            continue
        try:
            for row in rows_from_process(competitor, min(left, 2 * COMPETITORS[competitor]), rehearse=rehearse):
                results.add({**row, "ceiling": ceiling["tflops"]})
                print(one_line(row), file=sys.stderr, flush=True)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            continue
        results.finish(competitor)


def one_line(row: dict[str, Any]) -> str:
    """A row for the eye."""
    return f"{row['name']} | {row['data']} | {row['what']} | {row['tokens_per_s']:,.0f} tok/s | {row['gib']:.1f} GiB"


# Report


def plan(competitors: list[str], seconds: float) -> str:
    """Divide competitors over calls."""
    calls: list[list[str]] = [[]]
    for competitor in competitors:
        if CEILING_SECONDS + sum(COMPETITORS[name] for name in [*calls[-1], competitor]) > seconds:
            calls.append([])
        calls[-1].append(competitor)
    lines = []
    for number, names in enumerate(calls, start=1):
        minutes = (CEILING_SECONDS + sum(COMPETITORS[name] for name in names)) / 60
        lines.append(
            f"call {number}, {minutes:.1f} min: {', '.join(f'{name} {COMPETITORS[name]} s' for name in names)}"
        )
    total = len(calls) * CEILING_SECONDS + sum(COMPETITORS[name] for name in competitors)
    return "\n".join([*lines, f"{total / 60:.1f} min in all"])


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the measurements out in Markdown."""
    lines = [
        "| model | data | competitor | what | tokens/s | TFLOP/s | of ceiling | peak GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = list(SHAPES)
    for row in sorted(rows, key=lambda row: (order.index(row["size"]), row["data"] == "full", -row["tokens_per_s"])):
        name = row["name"].replace(f" {row['size']}", "")
        lines.append(
            f"| {row['size']} | {row['data']} | {name} | {row['what']} | {row['tokens_per_s']:,.0f} | "
            f"{row['tflops']:.0f} | {row['tflops'] / row['ceiling']:.0%} | {row['gib']:.1f} |"
        )
    return "\n".join(lines)


def best(rows: list[dict[str, Any]], name: str, data: str, what: str, field: str = "tokens_per_s") -> float:
    """Largest value among the rows whose name and work start so, pure bf16 left out; nan if there is none."""
    found = [
        row["tflops"] / row["ceiling"] if field == "share" else row[field]
        for row in rows
        if row["name"].startswith(name) and "pure" not in row["name"] and "fat" not in row["name"]
        and row["data"] == data and row["what"].startswith(what)
    ]  # fmt: skip
    return max(found, default=math.nan)


def ratio(value: float, peer: float) -> float:
    """Their quotient; nan where the peer has no figure."""
    return value / peer if peer else math.nan


class Bar(NamedTuple):
    """What a figure has to reach; ``most``: at most, else at least."""

    work: str
    value: float
    bar: float | None
    stretch: float | None = None
    most: bool = False

    def __str__(self) -> str:
        cells = [self.work, f"{self.value:,.3f}" if self.value < 1000 else f"{self.value:,.0f}"]
        for limit in (self.bar, self.stretch):
            if limit is None:
                cells.append("")
            elif math.isnan(self.value):
                cells.append(f"{limit:,.7g}: not measured")
            else:
                met = self.value <= limit if self.most else self.value >= limit
                cells.append(f"{limit:,.7g}: {'met' if met else 'missed'}")
        return f"| {' | '.join(cells)} |"


def bars(rows: list[dict[str, Any]]) -> list[Bar]:
    """Compare the measurements with what was to be reached."""
    result = []
    limits = {"650M": (3.75, 2.0, None, 120e3), "150M": (None, 3.2, None, 350e3), "8M": (None, 5.1, None, 2.8e6)}
    for size, (random, grouped, bar, stretch) in limits.items():
        speed = best(rows, f"ours {size}", "natural", "train")
        for kind, limit in (("random", random), ("grouped", grouped)):
            peer = best(rows, f"hf {size} compiled", "natural", f"train {kind}")
            result.append(Bar(f"{size} natural, times Hugging Face {kind}", ratio(speed, peer), limit))
        result.append(Bar(f"{size} natural, tokens/s", speed, bar, stretch))
    for data, kind, limit in (("natural", "grouped", 2.0), ("full", "full", 1.08)):
        for size in ("650M", "8M"):
            peer = best(rows, f"hf {size} compiled", data, f"embed {kind}")
            speed = best(rows, f"ours {size}", data, "embed")
            work = f"{size} {data}, embeddings, times Hugging Face {kind}"
            result.append(Bar(work, ratio(speed, peer), limit if size == "650M" else None))
    torch_kernel = best(rows, "ours 650M torch", "natural", "train")
    full = best(rows, "ours 650M", "full", "train"), best(rows, "hf 650M compiled", "full", "train")
    memory = (
        best(rows, "ours 650M auto", "full", "train", "gib"),
        best(rows, "hf 650M compiled", "full", "train", "gib"),
    )
    return [
        *result,
        Bar("650M natural, torch's FlashAttention 2, tokens/s", torch_kernel, 100e3, 108e3),
        *(
            Bar(f"{size} natural, share of the ceiling", best(rows, f"ours {size}", "natural", "train", "share"), *bar)
            for size, bar in {"650M": (0.585, 0.62), "150M": (0.39,), "8M": (0.18,), "3B": (0.68, 0.72)}.items()
        ),
        Bar("650M full, times Hugging Face", ratio(*full), 1.10, 1.2),
        Bar("650M full, peak memory, times Hugging Face", ratio(*memory), 0.8, 0.6, most=True),
    ]  # fmt: skip


def report(results: Results) -> str:
    """Everything in Markdown: first the bars, then all rows."""
    rows = results.content["rows"]
    ceilings = sorted({round(row["ceiling"]) for row in rows})
    return "\n".join(
        [
            f"{results.content['gpu']}, torch {results.content['torch']}; matmul ceiling of the calls: "
            f"{', '.join(map(str, ceilings))} TFLOP/s",
            "", "| work | measured | bar | stretch |", "|---|---|---|---|", *map(str, bars(rows)), "", table(rows),
        ]
    )  # fmt: skip


def main() -> None:
    """Measure what is missing, or say what that would be, or what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("esm2_gpu.json"), help="JSON file of all measurements")
    parser.add_argument("--sizes", nargs="+", default=tuple(SHAPES), choices=tuple(SHAPES))
    parser.add_argument("--rows", nargs="+", default=[""], help="parts of competitors' names")
    parser.add_argument("--seconds", type=float, default=570, help="of this call")
    parser.add_argument("--plan", action="store_true", help="print what is missing, divided over calls")
    parser.add_argument("--report", action="store_true", help="print the tables")
    parser.add_argument("--profile", choices=tuple(SHAPES), help="list the kernels of one of our steps")
    parser.add_argument("--kernel", default="auto", help="attention kernel of --profile")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, in miniature: whether everything runs")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    results = Results(arguments.out)
    missing = [
        name for name in COMPETITORS
        if name.split()[1] in arguments.sizes
        and any(part in name for part in arguments.rows)
        and name not in results.content["done"]
    ]  # fmt: skip
    if arguments.plan:
        print(plan(missing, arguments.seconds))
        return
    if not (arguments.report or arguments.rehearse or torch.cuda.is_available()):
        sys.exit("esm2_gpu.py: error: this benchmark needs a GPU, found none. To see it run on a CPU: --rehearse")
    with rehearsal() if arguments.rehearse else contextlib.nullcontext():
        if arguments.only:
            for row in rows_of(arguments.only):
                print(json.dumps(row), flush=True)
            return
        if arguments.profile:
            print(profile_ours(arguments.profile, arguments.kernel))
            return
        if not arguments.report:
            run(results, missing, arguments.seconds, rehearse=arguments.rehearse)
        print(report(results))


if __name__ == "__main__":
    main()
