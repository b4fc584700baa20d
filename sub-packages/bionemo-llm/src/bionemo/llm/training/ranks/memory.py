# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Predicted memory of a training step on one device, and the data-parallel strategy that fits.

Largest are the moments of AdamW and float32 weights (8 and 4 bytes a parameter), and what layers keep for the backward
pass. Checked against measured peaks of one and two H200s (``tests/bionemo/llm/training/ranks/test_memory.py``).
"""

from dataclasses import dataclass, replace
from typing import Literal

from bionemo.llm.model.biobert.config import BioBertConfig


GIB = float(1 << 30)
USABLE = 0.92
"""Share of a device's memory that a run may be predicted to fill; the rest is for fragments and the driver."""

Strategy = Literal["single", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class StepShape:
    """What a step's memory depends on beside the model.

    Attributes:
        tokens: Of a packed batch on one device.
        num_ranks: Data-parallel ranks.
        shard_size: Ranks that share one copy of a sharded model; None: all.
        half_precision: Whether activations are in bfloat16; parameters and moments stay in float32.
        compiled: Whether layers are compiled, which keep less.
        recompute: "none", "selective" or "full".
        micro_batches: Accumulated in a step.
        cpu_offload: Whether a sharded model's parameters and moments are on the host.
    """

    tokens: int
    num_ranks: int = 1
    shard_size: int | None = None
    half_precision: bool = True
    compiled: bool = True
    recompute: str = "none"
    micro_batches: int = 1
    cpu_offload: bool = False


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Predicted peak on one device, in bytes.

    Attributes:
        strategy: "single", "ddp" or "fsdp".
        weights: Parameters as the optimizer steps them, and copies in half precision.
        gradients: Of the parameters that the device keeps, or of all where they are accumulated.
        moments: AdamW's two.
        activations: What the forward pass keeps for the backward pass.
        buffers: Gathered layers, gradients on their way, and work space.
        reduce_every_micro_batch: Whether sharded gradients are reduced after every micro-batch, to save memory.
    """

    strategy: Strategy
    weights: float
    gradients: float
    moments: float
    activations: float
    buffers: float
    reduce_every_micro_batch: bool = False

    @property
    def total(self) -> float:
        """Peak of a step: at the end of the forward pass, or of the backward pass, whichever is higher."""
        kept = self.weights + self.moments
        if self.strategy == "ddp":  # gradients have their place from the beginning
            kept += self.gradients
            return kept + self.activations + self.buffers
        return kept + max(self.activations, self.gradients) + self.buffers

    def describe(self) -> str:
        """Return the total and its parts in GiB."""
        parts = ("weights", "gradients", "moments", "activations", "buffers")
        listed = ", ".join(f"{part} {getattr(self, part) / GIB:.1f}" for part in parts)
        return f"{self.total / GIB:.1f} GiB ({listed})"


def num_parameters(shape: BioBertConfig, vocab_size: int) -> int:
    """Return the number of parameters of a model with a masked-token head.

    Args:
        shape: The architecture.
        vocab_size: Tokens of the vocabulary, without padding.
    """
    hidden, ffn = shape.hidden_size, shape.ffn_hidden_size
    assert ffn is not None
    table = shape.padded_vocab_size(vocab_size)
    embedding = table * hidden + shape.num_token_types * hidden
    if shape.position_embedding_type == "learned_absolute":
        embedding += shape.seq_length * hidden
    norm_after_embedding_or_encoder = 2 * hidden
    head = hidden * hidden + 3 * hidden + table
    if not shape.share_embeddings_and_output_weights:
        head += table * hidden
    return embedding + shape.num_layers * layer_parameters(shape) + norm_after_embedding_or_encoder + head


def layer_parameters(shape: BioBertConfig) -> int:
    """Return the number of parameters of one encoder layer."""
    hidden, ffn = shape.hidden_size, shape.ffn_hidden_size
    assert ffn is not None
    return 4 * hidden * (hidden + 1) + 2 * hidden * ffn + ffn + hidden + 4 * hidden


def activation_bytes(shape: BioBertConfig, step: StepShape) -> float:
    """Return what the forward pass keeps, in bytes.

    A compiled layer keeps the inputs of its products and what attention needs: six hidden sizes and the feed-forward
    one, a number of two bytes each, which is 20 bytes a token and unit of the hidden size. Without compilation norms
    and activation function keep their inputs too, in half precision those of the norms as float32: 36 bytes.

    A compiled post-LN layer keeps the input of its second norm as well, in half precision both in float32: 26 bytes.
    """
    hidden, ffn = shape.hidden_size, shape.ffn_hidden_size
    assert ffn is not None
    number = 2 if step.half_precision else 4
    layer = 6 * hidden + ffn
    if step.compiled and shape.norm_placement == "post":
        layer += (3 if step.half_precision else 1) * hidden
    if not step.compiled:
        layer += (4 if step.half_precision else 2) * hidden + ffn
    if step.recompute == "full":
        kept = shape.num_layers * hidden + layer
    elif step.recompute == "selective":
        kept = shape.num_layers * (layer - hidden) + hidden
    else:
        kept = shape.num_layers * layer
    return float(number * kept * step.tokens)


def plan_memory(strategy: Strategy, shape: BioBertConfig, vocab_size: int, step: StepShape) -> MemoryPlan:
    """Predict the peak of a training step.

    Args:
        strategy: "single": one device; "ddp": each rank has the whole model; "fsdp": each rank has some rows.
        shape: The architecture.
        vocab_size: Tokens of the vocabulary, without padding.
        step: What else it depends on.

    Example:
        >>> from bionemo.llm.model.biobert.config import BioBertConfig
        >>> shape = BioBertConfig(num_layers=33, hidden_size=1280, num_attention_heads=20)
        >>> plan = plan_memory("fsdp", shape, 33, StepShape(tokens=32_768, num_ranks=8))
        >>> f"{plan.moments / GIB:.2f} GiB of moments on each of 8 ranks"
        '0.61 GiB of moments on each of 8 ranks'
    """
    parameters, layer = num_parameters(shape, vocab_size), layer_parameters(shape)
    activations = activation_bytes(shape, step)
    work = (
        16.0 * step.tokens * shape.hidden_size
    )  # embedding, last norm, head on the masked tokens, and their gradients
    compute_bytes = 2 if step.half_precision else 4
    if strategy != "fsdp":
        copies = 2 * parameters if step.half_precision else 0
        return MemoryPlan(
            strategy=strategy,
            weights=4.0 * parameters + copies,
            gradients=4.0 * parameters,
            moments=8.0 * parameters,
            activations=activations,
            buffers=work,
        )
    share = 0.0 if step.cpu_offload else 1 / (step.shard_size or step.num_ranks)
    rest = parameters - shape.num_layers * layer
    gathered = compute_bytes * (rest + 3 * layer)  # the rest, a layer in use, the next one twice: as sent and in place
    reduced = (compute_bytes + 4) * layer
    return MemoryPlan(
        strategy="fsdp",
        weights=4.0 * parameters * share,
        gradients=4.0 * parameters * (1.0 if step.micro_batches > 1 else share),
        moments=8.0 * parameters * share,
        activations=activations,
        buffers=work + gathered + reduced,
    )


def plan_sharded(shape: BioBertConfig, vocab_size: int, step: StepShape, capacity: float) -> MemoryPlan:
    """Predict a sharded step; gradients are reduced after every micro-batch where whole ones would not fit."""
    plan = plan_memory("fsdp", shape, vocab_size, step)
    if step.micro_batches == 1 or plan.total <= USABLE * capacity:
        return plan
    reduced = plan_memory("fsdp", shape, vocab_size, replace(step, micro_batches=1))
    return replace(reduced, reduce_every_micro_batch=True)


def choose_strategy(
    asked: str, shape: BioBertConfig, vocab_size: int, step: StepShape, capacity: float
) -> tuple[MemoryPlan, str]:
    """Choose how ranks share the work.

    Args:
        asked: "auto", "ddp" or "fsdp".
        shape: The architecture.
        vocab_size: Tokens of the vocabulary, without padding.
        step: What else memory depends on.
        capacity: Memory of one device, bytes.

    Returns:
        The predicted memory of the chosen strategy, and in words what was chosen and why.
    """
    limit = USABLE * capacity
    whole = plan_memory("ddp" if step.num_ranks > 1 else "single", shape, vocab_size, step)
    sharded = plan_sharded(shape, vocab_size, step, capacity)
    of = f"of {capacity / GIB:.1f} GiB a device"
    if asked == "fsdp":
        chosen, why = sharded, "as asked"
    elif asked == "ddp" or step.num_ranks == 1:
        chosen, why = whole, "as asked" if asked == "ddp" and step.num_ranks > 1 else "one rank"
    elif whole.total <= limit:
        chosen, why = whole, f"the whole model fits each rank; fsdp would take {sharded.total / GIB:.1f} GiB"
    else:
        chosen, why = sharded, f"ddp would take {whole.total / GIB:.1f} GiB"
    text = f"strategy {chosen.strategy} ({why}): {chosen.describe()} predicted {of}"
    if chosen.reduce_every_micro_batch:
        text += "; gradients are reduced after every micro-batch, because whole ones would not fit"
    if chosen.total > limit:
        text += f". More than {USABLE:.0%} of it: {advice(chosen.strategy, step)}"
    return chosen, text


def advice(strategy: Strategy, step: StepShape) -> str:
    """Return what takes less memory."""
    ways = ["--strategy fsdp"] if strategy == "ddp" else []
    ways += ["--recompute full"] if step.recompute != "full" else []
    ways += ["a smaller --tokens-per-batch"]
    ways += ["more ranks", "--fsdp-cpu-offload"] if strategy == "fsdp" and not step.cpu_offload else []
    return "expect to run out of memory; " + ", ".join(ways) + " would take less"
