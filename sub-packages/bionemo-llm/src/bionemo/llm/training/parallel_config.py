# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Model parallelism of a run: the sizes, and whether they fit a model and a machine."""

from dataclasses import dataclass

from bionemo.core.errors import ConfigError, ParallelismError


RECOMPUTE = ("none", "selective", "full")
"""Activation recomputation (gradient checkpointing): none, the core attention, or whole layers."""


SIZES = (
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "virtual_pipeline_model_parallel_size",
    "context_parallel_size",
)


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Sizes of model parallelism; the remaining ranks are data parallel.

    Attributes:
        tensor_model_parallel_size: Tensor parallelism: ranks over which each matrix is sharded.
        pipeline_model_parallel_size: Pipeline parallelism: number of pipeline stages.
        virtual_pipeline_model_parallel_size: Interleaved pipeline: model chunks per pipeline stage.
        num_layers_in_first_pipeline_stage: Layers of the first stage; None shares them evenly.
        context_parallel_size: Context parallelism: ranks over which the tokens of a packed batch are sharded.
        sequence_parallel: Shard LayerNorm and dropout activations over the tensor-parallel ranks.
        use_distributed_optimizer: Each data-parallel rank keeps a share of the optimizer's state.
        overlap_grad_reduce: Reduce gradients during the backward pass.
        overlap_param_gather: Gather parameters during the forward pass (distributed optimizer).
        grad_reduce_in_fp32: Sum gradients of all ranks in float32 also where they are bfloat16.
        recompute: One of ``RECOMPUTE``.
    """

    tensor_model_parallel_size: int = 1
    pipeline_model_parallel_size: int = 1
    virtual_pipeline_model_parallel_size: int = 1
    num_layers_in_first_pipeline_stage: int | None = None
    context_parallel_size: int = 1
    sequence_parallel: bool = False
    use_distributed_optimizer: bool = False
    overlap_grad_reduce: bool = False
    overlap_param_gather: bool = False
    grad_reduce_in_fp32: bool = True
    recompute: str = "none"

    def __post_init__(self) -> None:
        """Check what needs neither model nor machine.

        Raises:
            ConfigError: A size is below one, or a switch lacks what it builds on.
        """
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ConfigError(f"{flag(name)} {getattr(self, name)}: must be at least 1.")
        first = self.num_layers_in_first_pipeline_stage
        if first is not None and first < 1:
            raise ConfigError(f"{flag('num_layers_in_first_pipeline_stage')} {first}: must be at least 1.")
        for name in ("virtual_pipeline_model_parallel_size", "num_layers_in_first_pipeline_stage"):
            value, at_rest = getattr(self, name), getattr(type(self), name)
            if value != at_rest and self.pipeline_model_parallel_size == 1:
                raise ConfigError(f"{flag(name)} {value}: needs --pipeline-model-parallel-size of at least 2.")
        if self.virtual_pipeline_model_parallel_size > 1 and first is not None:
            raise ConfigError(
                "--decoder-first-pipeline-num-layers and --virtual-pipeline-model-parallel-size cannot be combined."
            )
        if self.sequence_parallel and self.tensor_model_parallel_size == 1:
            raise ConfigError("--sequence-parallel: needs --tensor-model-parallel-size of at least 2.")
        if self.overlap_param_gather and not (self.use_distributed_optimizer and self.overlap_grad_reduce):
            raise ConfigError("--overlap-param-gather: needs --use-distributed-optimizer and --overlap-grad-reduce.")
        if self.recompute not in RECOMPUTE:
            raise ConfigError(f"--recompute {self.recompute}: not one of {', '.join(RECOMPUTE)}.")

    @property
    def model_parallel_size(self) -> int:
        """Ranks that hold one copy of the model and share its packed batches."""
        return self.tensor_model_parallel_size * self.pipeline_model_parallel_size * self.context_parallel_size

    @property
    def megatron_virtual_size(self) -> int | None:
        """Model chunks of each stage as Megatron counts them: None where a stage is one model chunk."""
        pieces = self.virtual_pipeline_model_parallel_size
        return pieces if pieces > 1 else None

    @property
    def packs_per_validation_step(self) -> int:
        """Packed batches that a data-parallel rank takes at a time: model chunks need one for each stage."""
        return self.pipeline_model_parallel_size if self.virtual_pipeline_model_parallel_size > 1 else 1

    @property
    def is_model_parallel(self) -> bool:
        """Whether one rank holds less than a whole model, or sees less than a whole packed batch."""
        return self.model_parallel_size > 1

    def data_parallel_size(self, world_size: int) -> int:
        """Ranks that see different packed batches.

        Raises:
            ParallelismError: The sizes do not divide the ranks.
        """
        if world_size % self.model_parallel_size:
            raise ParallelismError(
                f"{world_size} ranks cannot be split into copies of the model: one copy takes "
                f"{self.tensor_model_parallel_size} (tensor) x {self.pipeline_model_parallel_size} (pipeline) x "
                f"{self.context_parallel_size} (context) = {self.model_parallel_size} ranks. "
                "Give --devices and --num-nodes whose product is a multiple of it."
            )
        return world_size // self.model_parallel_size

    def data_parallel_rank(self, rank: int, world_size: int) -> int:
        """Place of a rank among those that see different packed batches.

        Tensor-parallel ranks are neighbors; then come context, data and pipeline parallel ones.
        """
        closer = self.tensor_model_parallel_size * self.context_parallel_size
        return rank // closer % self.data_parallel_size(world_size)

    def check_model(
        self, *, num_layers: int, num_attention_heads: int, ffn_hidden_size: int, pack_size: int, dropout: float = 0.0
    ) -> None:
        """Refuse sizes that the model or its packed batches cannot be cut into.

        Args:
            num_layers: Layers of the whole model.
            num_attention_heads: Heads of a layer.
            ffn_hidden_size: Feed-forward (intermediate) size.
            pack_size: Tokens of a pack with its tail.
            dropout: The largest dropout rate in the model.

        Raises:
            ParallelismError: A size does not divide what it cuts; the message names the flag.
        """
        tensor = self.tensor_model_parallel_size
        for size, what in ((num_attention_heads, "attention heads"), (ffn_hidden_size, "feed-forward channels")):
            if size % tensor:
                raise ParallelismError(f"--tensor-model-parallel-size {tensor} does not divide the {size} {what}.")
        self._check_stages(num_layers)
        shares = self.context_parallel_size * (tensor if self.sequence_parallel else 1)
        if pack_size % shares:
            flags = f"--context-parallel-size {self.context_parallel_size}"
            if self.sequence_parallel:
                flags += f" with --sequence-parallel over {tensor} ranks"
            raise ParallelismError(
                f"{flags} does not divide the {pack_size} tokens of a pack; see --tokens-per-batch."
            )
        if self.recompute != "none" and dropout > 0 and tensor > 1:
            raise ParallelismError(
                f"--recompute {self.recompute}: with --tensor-model-parallel-size {tensor} it needs a model without "
                f"dropout, because ranks would draw other masks the second time; this one has {dropout}."
            )

    def check_micro_batches(self, number: int) -> None:
        """Refuse a number of micro-batches that model chunks of stages cannot take in turn.

        Args:
            number: Packs of one data-parallel rank in an optimizer step.

        Raises:
            ParallelismError: It is no multiple of the stages.
        """
        pieces, stages = self.virtual_pipeline_model_parallel_size, self.pipeline_model_parallel_size
        if pieces > 1 and number % stages:
            raise ParallelismError(
                f"--accumulate-grad-batches {number}: with --virtual-pipeline-model-parallel-size {pieces} it must be "
                f"a multiple of --pipeline-model-parallel-size, {stages}."
            )

    def _check_stages(self, num_layers: int) -> None:
        stages, pieces = self.pipeline_model_parallel_size, self.virtual_pipeline_model_parallel_size
        first = self.num_layers_in_first_pipeline_stage
        if pieces > 1:
            if num_layers % (stages * pieces):
                raise ParallelismError(
                    f"--pipeline-model-parallel-size {stages} x --virtual-pipeline-model-parallel-size {pieces} "
                    f"does not divide the {num_layers} layers."
                )
            return
        if first is None:
            if num_layers % stages:
                raise ParallelismError(
                    f"--pipeline-model-parallel-size {stages} does not divide the {num_layers} layers. "
                    "--decoder-first-pipeline-num-layers gives the first stage another number."
                )
            return
        if first >= num_layers or (num_layers - first) % (stages - 1):
            raise ParallelismError(
                f"--decoder-first-pipeline-num-layers {first} leaves {num_layers - first} of {num_layers} layers, "
                f"which the other {stages - 1} stages cannot share evenly."
            )


def flag(name: str) -> str:
    """Spell a field as its flag."""
    spelled = {"num_layers_in_first_pipeline_stage": "decoder-first-pipeline-num-layers"}.get(name, name)
    return "--" + spelled.replace("_", "-")
