# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Speed of Geneformer on one GPU against Hugging Face's BERT: training, embedding and perturbation.

    python benchmarks/geneformer_gpu.py --out results.json              measure what is missing there
    python benchmarks/geneformer_gpu.py --out results.json --report     tables in Markdown, no GPU needed
    python benchmarks/geneformer_gpu.py --rehearse                      everything on a CPU, in miniature

Each competitor runs in a process of its own; every row is written as soon as it is measured. Random weights, cells of
1,400 genes on average (log-normal, cut at the context), 65,536 tokens a step. Published dropouts of hidden states and
of attention, clipping and AdamW included; float32 masters, bf16 compute.

  ours   what `train_geneformer --compile` runs: packs, compiled layers, bf16 copies of the weights, a varlen kernel
  hf     BertForMaskedLM, sdpa, each layer compiled, autocast: cells in random order, or grouped by length within the
         step, in micro-batches of 4 to 64 cells padded to their longest. The best grouped row is the careful user's.

Embedding: hidden states of the second to last layer, bf16 weights (hf: BertModel). Perturbation: every gene of a cell
deleted in turn, mean cosine of the remaining genes; perturbed cells a second. The Hugging Face loop takes lists of one
cell, which have one length and need no padding, up to 32,768 tokens a batch.
"""

import argparse
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


warnings.filterwarnings("ignore")

import torch  # noqa: E402 - after the switch above


class Scale(NamedTuple):
    """What differs between a measurement and a rehearsal of its code on a CPU."""

    device: str = "cuda"
    budget: int = 65_536
    mean_genes: int = 1400
    max_genes: int | None = None
    num_layers: int | None = None
    perturbed_genes: int = 1400
    perturbation_tokens: int = 32_768
    perturbations: int = 2
    backend: str = "inductor"
    steps: int = 8
    warm_up_steps: int = 3


SCALE = Scale()
REHEARSAL = Scale("cpu", 256, 20, 40, 1, 12, 64, 1, "aot_eager", 2, 1)
SIZES = ("V1-10M", "V2-104M", "BIONEMO-10M", "BIONEMO-106M", "V2-316M")
PEERS = ("V1-10M", "V2-104M", "V2-316M")
"""Sizes that BertForMaskedLM can be; BioNeMo's own are pre-LN."""
GROUPS = (4, 8, 16, 32, 64)
RANDOM_GROUP = 12
LAYER = -1
COMPETITORS = [f"{kind} {size}" for size in SIZES for kind in ("ours", "hf") if kind == "ours" or size in PEERS]


def cell_lengths(max_genes: int) -> list[int]:
    """Genes of the cells of one step."""
    rng = np.random.default_rng(0)
    lengths: list[int] = []
    limit = min(max_genes, SCALE.max_genes or max_genes)
    while True:
        length = int(np.clip(rng.lognormal(np.log(SCALE.mean_genes), 0.5), min(100, limit // 2), limit))
        if sum(lengths) + length > SCALE.budget:
            return lengths
        lengths.append(length)


def wait() -> None:
    """Wait for the device."""
    if SCALE.device == "cuda":
        torch.cuda.synchronize()


def measure(what: str, units: float, step: Callable[[], Any], *, steps: int | None = None) -> dict[str, Any]:
    """Time steps, issued one after the other as in training; units a second from the median."""
    steps = steps or SCALE.steps
    for number in range(SCALE.warm_up_steps if steps >= SCALE.steps else 1):
        step()
        wait()
        if number == 0 and SCALE.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
    marks = [mark()]
    for _ in range(steps):
        step()
        marks.append(mark())
    wait()
    seconds = [seconds_between(*pair) for pair in itertools.pairwise(marks)]
    peak = torch.cuda.max_memory_allocated() / 2**30 if SCALE.device == "cuda" else 0.0
    return {"what": what, "per_s": units / statistics.median(seconds), "gib": peak}


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


def model_config(size: str) -> Any:
    """Architecture of a published size with its dropouts."""
    from bionemo.geneformer.api import geneformer_config

    config = geneformer_config(size)
    return config if SCALE.num_layers is None else replace(config, num_layers=SCALE.num_layers)


def ours(size: str) -> Iterator[dict[str, Any]]:
    """Train as `train_geneformer` does, then embed and perturb as the commands do."""
    from bionemo.geneformer.api import build_geneformer
    from bionemo.llm.lightning import packed_loss, scale_and_clip
    from bionemo.llm.model.compiled import compile_layers
    from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer
    from bionemo.llm.training.static_forward import StaticForwardStep, StaticShapes

    config = model_config(size)
    model = build_geneformer(config).model.to(SCALE.device).train()
    compile_layers(model.encoder.layers, backend=SCALE.backend)
    lengths = cell_lengths(config.seq_length)
    pack = StaticShapes(config.seq_length)(make_pack(config, lengths))
    batch = {k: v.to(SCALE.device) if isinstance(v, torch.Tensor) else v for k, v in pack.items()}
    forward = StaticForwardStep(max_seqlen=config.seq_length, weight_dtype=torch.bfloat16)
    optimizer = build_optimizer(model, OptimizerConfig())
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step() -> None:
        loss, count = packed_loss(batch, forward(model, batch))
        loss.backward()
        scale_and_clip([p.grad for p in parameters if p.grad is not None], 1 / count, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    yield measure("train", len(lengths), step)
    model.zero_grad(set_to_none=True)
    optimizer.state.clear()
    yield from use_ours(config, size, lengths)


def make_pack(config: Any, lengths: list[int], *, masked: bool = True) -> Any:
    """A pack of random genes, longest cell first as the sampler's packs are."""
    from bionemo.llm.data.masking import PackMasking
    from bionemo.llm.data.packing import build_packed_batch

    special = len(config.tokens.special_tokens)
    masking = PackMasking(
        seed=1, mask_token_id=config.vocabulary.mask_token_id, special_ids=tuple(range(special)),
        random_token_ids=range(special, config.vocab_size), mask_prob=0.15, mask_token_prob=0.8, random_token_prob=0.1,
    )  # fmt: skip
    tokens = np.random.default_rng(1).integers(special, config.vocab_size, size=sum(lengths))
    return build_packed_batch(
        tokens, np.array(sorted(lengths, reverse=True)), np.arange(len(lengths)),
        max_tokens=SCALE.budget, pad_token_id=0, masking=masking if masked else None,
    )  # fmt: skip


def use_ours(config: Any, size: str, lengths: list[int]) -> Iterator[dict[str, Any]]:
    """Embed a pack, and delete every gene of one cell."""
    from bionemo.geneformer.api import build_geneformer
    from bionemo.geneformer.data.tokenized_cells import TokenLists
    from bionemo.geneformer.embedding.encoder import build_encoder
    from bionemo.geneformer.perturbation.edits import Perturbation
    from bionemo.geneformer.perturbation.perturb_cells import TokenLayout, perturb_cells
    from bionemo.geneformer.perturbation.shifts import Measure

    precision = "bf16-mixed"
    model = build_geneformer(config).model.to(SCALE.device).eval()
    encode = build_encoder(model, LAYER, precision=precision, compile_backend=SCALE.backend, max_tokens=SCALE.budget)
    pack = make_pack(config, lengths, masked=False)
    yield measure("embed", len(lengths), lambda: encode(pack))
    model = build_geneformer(config).model.to(SCALE.device).eval()
    max_tokens = max(SCALE.perturbation_tokens, config.seq_length)
    encode = build_encoder(
        model, LAYER, precision=precision, has_repeats=True, compile_backend=SCALE.backend, max_tokens=max_tokens
    )
    genes = np.arange(10, 10 + SCALE.perturbed_genes).tolist()
    layout = TokenLayout(config.seq_length)

    def perturb() -> None:
        for _ in perturb_cells(
            encode, TokenLists.from_lists([genes]), np.arange(1), Perturbation(perturb_type="delete"),
            Measure(embedding="cell", cosine="genes"), layout=layout, max_tokens=max_tokens,
        ):  # fmt: skip
            pass

    yield measure("perturb", len(genes), perturb, steps=SCALE.perturbations)


def hugging_face(size: str) -> Iterator[dict[str, Any]]:
    """Train, embed and perturb with transformers' BERT."""
    from transformers import BertConfig, BertForMaskedLM

    c = model_config(size)
    model: Any = BertForMaskedLM(BertConfig(
        vocab_size=c.vocab_size, hidden_size=c.hidden_size, num_hidden_layers=c.num_layers,
        num_attention_heads=c.num_attention_heads, intermediate_size=c.ffn_hidden_size, hidden_act="relu",
        max_position_embeddings=c.seq_length, layer_norm_eps=c.layernorm_epsilon, pad_token_id=0,
        hidden_dropout_prob=c.hidden_dropout, attention_probs_dropout_prob=c.attention_dropout,
    )).to(SCALE.device).train()  # fmt: skip
    torch._dynamo.config.recompile_limit = 64
    for layer in model.bert.encoder.layer:
        layer.compile(dynamic=True, backend=SCALE.backend)
    lengths = cell_lengths(c.seq_length)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    variants = {f"random {RANDOM_GROUP}": micro_batches(lengths, RANDOM_GROUP, c.vocab_size)}
    for group in GROUPS:
        variants[f"grouped {group}"] = micro_batches(sorted(lengths, reverse=True), group, c.vocab_size)
    for name, batches in variants.items():

        def step(batches: Any = batches) -> None:
            for input_ids, mask, labels in batches:
                with torch.autocast(SCALE.device, torch.bfloat16):
                    loss = model(input_ids=input_ids, attention_mask=mask, labels=labels).loss
                (loss / len(batches)).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        with contextlib.suppress(torch.OutOfMemoryError):
            yield measure(f"train {name}", len(lengths), step)
        model.zero_grad(set_to_none=True)
        if SCALE.device == "cuda":
            torch.cuda.empty_cache()
    optimizer.state.clear()
    yield from use_hugging_face(model.bert.bfloat16().eval(), lengths, variants)


@torch.no_grad()
def use_hugging_face(model: Any, lengths: list[int], variants: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Embed the micro-batches of training, and delete every gene of one cell."""
    for name, batches in variants.items():

        def embed(batches: Any = batches) -> None:
            for input_ids, mask, _ in batches:
                model(input_ids=input_ids, attention_mask=mask, output_hidden_states=True).hidden_states[LAYER - 1]

        yield measure(f"embed {name}", len(lengths), embed)
    genes = torch.arange(10, 10 + SCALE.perturbed_genes, device=SCALE.device)
    rows = max(SCALE.perturbation_tokens // len(genes), 1)

    def states(lists: Any) -> Any:
        return model(input_ids=lists, output_hidden_states=True).hidden_states[LAYER - 1].float()

    def perturb() -> None:
        before = states(genes[None])[0]
        kept = ~torch.eye(len(genes), dtype=torch.bool, device=SCALE.device)
        for deleted in kept.split(rows):
            after = states(torch.stack([genes[mask] for mask in deleted]))
            compared = torch.stack([before[mask] for mask in deleted])
            torch.cosine_similarity(compared, after, dim=-1).mean(dim=-1).tolist()

    yield measure("perturb", len(genes), perturb, steps=SCALE.perturbations)


def micro_batches(lengths: list[int], cells: int, vocab_size: int) -> list[tuple[torch.Tensor, ...]]:
    """Padded micro-batches of a number of cells each."""
    generator = torch.Generator().manual_seed(1)
    batches = []
    for start in range(0, len(lengths), cells):
        group = lengths[start : start + cells]
        mask = torch.arange(max(group)) < torch.tensor(group)[:, None]
        input_ids = torch.randint(10, vocab_size, mask.shape, generator=generator)
        labels = input_ids.where(mask & (torch.rand(mask.shape, generator=generator) < 0.15), -100)
        batches.append(tuple(x.to(SCALE.device) for x in (input_ids.masked_fill(~mask, 0), mask.long(), labels)))
    return batches


def run(path: Path, competitors: list[str], *, rehearse: bool) -> None:
    """Measure competitors, each in a process of its own, and keep their rows in a JSON file."""
    results = json.loads(path.read_text()) if path.exists() else {"rows": [], "done": []}
    results |= {"gpu": "CPU" if rehearse else torch.cuda.get_device_name(), "torch": torch.__version__}
    for competitor in competitors:
        if competitor in results["done"]:
            continue
        command = [sys.executable, __file__, "--only", competitor, *(["--rehearse"] if rehearse else [])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                row = json.loads(line)
                results["rows"] = [
                    old for old in results["rows"] if old["name"] + old["what"] != row["name"] + row["what"]
                ]
                results["rows"].append(row)
                path.write_text(json.dumps(results, indent=1))
                print(
                    f"{row['name']} | {row['what']} | {row['per_s']:,.1f} cells/s | {row['gib']:.1f} GiB", flush=True
                )
        if process.wait() == 0:
            results["done"].append(competitor)
            path.write_text(json.dumps(results, indent=1))


def report(results: dict[str, Any]) -> str:
    """All rows, and ours beside the random and the best grouped row of Hugging Face."""
    rows = results["rows"]

    def best(name: str, what: str) -> float:
        return max((row["per_s"] for row in rows if row["name"] == name and row["what"].startswith(what)), default=0.0)

    lines = [
        f"{results['gpu']}, torch {results['torch']}", "",
        "| model | work | ours, cells/s | Hugging Face random | grouped, best | times random | times grouped |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for size in SIZES:
        for what in ("train", "embed", "perturb"):
            mine = best(f"ours {size}", what)
            peers = [best(f"hf {size}", f"{what}{kind}") for kind in (" random", " grouped")]
            if what == "perturb":
                peers = [0.0, best(f"hf {size}", what)]
            times = [f"{mine / peer:.2f}" if peer and mine else "" for peer in peers]
            if mine or any(peers):
                cells = [f"{value:,.0f}" if value else "" for value in (mine, *peers)]
                lines.append(f"| {size} | {what} | {' | '.join(cells)} | {' | '.join(times)} |")
    return "\n".join(lines)


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


def main() -> None:
    """Measure what is missing, or print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("geneformer_gpu.json"), help="JSON file of all measurements")
    parser.add_argument("--rows", nargs="+", default=[""], help="parts of competitors' names")
    parser.add_argument("--report", action="store_true", help="print the table")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, in miniature: whether everything runs")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.report or arguments.rehearse or torch.cuda.is_available()):
        sys.exit("geneformer_gpu.py: error: needs a GPU, found none. To see it run on a CPU: --rehearse")
    with rehearsal() if arguments.rehearse else contextlib.nullcontext():
        if arguments.only:
            kind, size = arguments.only.split()
            for row in (ours if kind == "ours" else hugging_face)(size):
                print(json.dumps({"name": arguments.only, **row}), flush=True)
            return
        if not arguments.report:
            wanted = [name for name in COMPETITORS if any(part in name for part in arguments.rows)]
            run(arguments.out, wanted, rehearse=arguments.rehearse)
    print(report(json.loads(arguments.out.read_text())))


if __name__ == "__main__":
    main()
