# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The Lightning module under Megatron's schedules: each rank builds its part, and gives data, forward pass and loss.

The loss of a step is the same number as on the plain training engine: the sum over all packed batches of all ranks
divided by the number
of labeled tokens of all of them (``calculate_per_token_loss``).
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from megatron.core import parallel_state
from megatron.core.distributed import finalize_model_grads
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.utils import unwrap_model
from torch import Tensor, nn

from bionemo.llm.checkpoints.training_state import Progress, TrainingState
from bionemo.llm.lightning import Batch, LossFunction, packed_loss
from bionemo.llm.megatron.dropout import draw_apart, seed_dropout
from bionemo.llm.megatron.forward_step import find_label_rows, one_token_pack, place_forward_step, vocab_parallel_loss
from bionemo.llm.megatron.optimizer import build_megatron_optimizer, optimizer_slot, to_megatron_optimizer
from bionemo.llm.model.biobert.config import BioBertConfig, to_megatron
from bionemo.llm.model.biobert.model import MegatronBioBertModel, ModelTokenizer, build_model
from bionemo.llm.model.device_placement import Placement
from bionemo.llm.model.recompute import recompute_layers
from bionemo.llm.model.sharding import load_whole_state
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.parallel_config import ParallelConfig
from bionemo.llm.training.step_accounting import MeanLoss, StepAccounting
from bionemo.llm.training.trainer import continue_from


@dataclass(frozen=True)
class WholeWeights:
    """The weights that a run starts from.

    Attributes:
        read: Gives the state dict of the model on one device; called once on every rank.
        source: What to name in errors.
    """

    read: Callable[[], Mapping[str, Tensor]]
    source: str


class MegatronLightningModule(pl.LightningModule):
    """Trains one rank's part of a BioBERT model under ``MegatronStrategy``.

    ``config`` is Megatron's, as NeMo expects it, ``bert_config`` the model's.

    Args:
        bert_config: The architecture.
        tokenizer: Vocabulary size and special ids.
        parallel: How the model is spread.
        weights: What to start from; None where a sharded checkpoint is loaded in ``on_fit_start``.
        pack_size: Tokens of a packed batch with its tail.
        micro_batches_per_step: Packs of one data-parallel rank in an optimizer step.
        optimizer: AdamW and its schedule.
        resume: State of a run to resume.
        load: Loads weights and optimizer of a sharded checkpoint into the finished training engine.
        static_max_seqlen: Length that no sequence exceeds, where batches come with static shapes: the tail of a pack
            is computed like sequences, and no number changes from batch to batch.
        prepare: Applied once to the model after it was built, for example to compile its layers.
        dropout_seed: Makes dropout a function of it and of the pack's number in the run.
    """

    def __init__(
        self,
        bert_config: BioBertConfig,
        tokenizer: ModelTokenizer,
        parallel: ParallelConfig,
        *,
        weights: WholeWeights | None,
        pack_size: int,
        micro_batches_per_step: int = 1,
        optimizer: OptimizerConfig | None = None,
        resume: TrainingState | None = None,
        load: Callable[["MegatronLightningModule"], None] | None = None,
        static_max_seqlen: int | None = None,
        prepare: Callable[[MegatronBioBertModel], None] | None = None,
        dropout_seed: int | None = None,
    ) -> None:
        super().__init__()
        self.accounting = StepAccounting(None if resume is None else resume.progress, reduced_each_step=False)
        self.optimizer_config = optimizer or OptimizerConfig()
        self.module: nn.Module | None = None
        self.bert_config = bert_config
        self.config = to_megatron(bert_config, **megatron_fields(parallel))
        self.tokenizer = tokenizer
        self.parallel = parallel
        self.pack_size, self.micro_batches_per_step = pack_size, micro_batches_per_step
        self.optim = optimizer_slot(to_megatron_optimizer(self.optimizer_config, parallel))
        self._loss_function: LossFunction = (
            packed_loss if parallel.tensor_model_parallel_size == 1 else vocab_parallel_loss
        )
        self._weights, self._load, self._prepare = weights, load, prepare
        self._dropout_seed = dropout_seed
        self._static_max_seqlen = static_max_seqlen
        self.further_pieces = nn.ModuleList()

    @property
    def progress(self) -> Progress:
        """How far the run has come; ``accounting.settle`` brings the counts of sequences and tokens up to date."""
        return self.accounting.progress

    # The model.

    def configure_model(self) -> None:
        """Build this rank's part of the model, one model chunk or several, once; the process groups exist by now."""
        if self.module is not None:
            return
        weights = None if self._weights is None else self._weights.read()
        number = self.parallel.megatron_virtual_size
        self.module = self._build_piece(weights, vp_stage=None if number is None else 0)
        self.further_pieces.extend(
            ModelPiece(self._build_piece(weights, vp_stage=stage), self) for stage in range(1, number or 1)
        )

    def _build_piece(self, weights: Mapping[str, Tensor] | None, *, vp_stage: int | None) -> MegatronBioBertModel:
        stage: dict[str, Any] = {"ignore_virtual": False, "vp_stage": vp_stage}
        placement = Placement(
            self.config,
            ProcessGroupCollection.use_mpu_process_groups(),
            pre_process=parallel_state.is_pipeline_first_stage(**stage),
            post_process=parallel_state.is_pipeline_last_stage(**stage),
            vp_stage=vp_stage,
        )
        model = build_model(self.bert_config, self.tokenizer, placement=placement)
        share_tied_weight(model)
        if self._weights is not None and weights is not None:
            load_whole_state(model, weights, self._weights.source)
        draw_apart(model.encoder.layers, sequence_parallel=self.parallel.sequence_parallel)
        recompute_layers(model.encoder.layers, self.parallel.recompute)
        if self._prepare is not None:
            self._prepare(model)
        return model

    @property
    def model(self) -> MegatronBioBertModel:
        """The first model chunk of this rank, without the training engine's wrappers."""
        return unwrapped(self.module)

    @property
    def pieces(self) -> list[MegatronBioBertModel]:
        """All of them, in the order of their layers."""
        further: Any = self.further_pieces
        return [self.model, *(piece.model for piece in further)]

    @property
    def mcore_optimizer(self) -> Any:
        """Megatron's optimizer without NeMo's wrapper."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        return optimizer.mcore_optimizer

    def configure_optimizers(self) -> Any:
        """Build Megatron's optimizer and our schedule; a resumed run's state comes in ``on_fit_start``."""
        strategy: Any = self.trainer.strategy  # NeMo's
        optimizer, schedule = build_megatron_optimizer(
            strategy.megatron_parallel, self.optimizer_config, self.optim.config
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Set how Megatron finishes gradients, and load the state of a resumed run."""
        self.config.finalize_model_grads_func = finalize_model_grads
        if self._load is not None:
            self._load(self)
            # NeMo put an optimization loop of its own in place of the one whose counters were set.
            continue_from(self.trainer, self.progress.step, accumulate_grad_batches=1)

    # One micro-batch, in the words of NeMo's schedules.

    def data_step(self, dataloader_iter: Iterator[Any]) -> dict[str, Any]:
        """Take the next packed batch, on every stage, and move it to the device."""
        batch, _, dataloader_idx = next(dataloader_iter)
        if self.trainer.training:
            self.seed_dropout(self.accounting.num_micro_batches, self.model)
            self._count(batch)
        return self.placed({**batch, "dataloader_idx": dataloader_idx}, self.model)

    def seed_dropout(self, micro_batch: int, model: MegatronBioBertModel) -> None:
        """Make dropout a function of the seed and of a micro-batch's number in the run."""
        if self._dropout_seed is not None:
            number = self.progress.consumed_samples + micro_batch * self.data_parallel_size
            number += parallel_state.get_data_parallel_rank()
            seed_dropout(self._dropout_seed, number, vp_stage=model.vp_stage or 0)

    def placed(self, batch: dict[str, Any], model: MegatronBioBertModel) -> dict[str, Any]:
        """Return what a model chunk needs of a batch, on the device."""
        if self._static_max_seqlen is not None:
            batch |= {"num_tokens": len(batch["input_ids"]), "max_seqlen": self._static_max_seqlen}
        elif batch["num_tokens"] == 0:
            batch |= one_token_pack(batch)
        if model.post_process:
            batch |= find_label_rows(batch, model)
        moved: dict[str, Any] = self.transfer_batch_to_device(
            batch, self.trainer.strategy.root_device, batch["dataloader_idx"]
        )
        return moved

    def forward_step(self, batch: Batch) -> Tensor:
        """Run a stage that is not the last: gives what it sends on."""
        states: Tensor = self(batch)
        return states

    def forward(self, batch: Batch) -> Any:
        """Run one batch through the first model chunk of this rank's part."""
        return place_forward_step(self.model, batch)

    def training_step(self, batch: Batch) -> Any:
        """Run the last stage: gives what the loss is computed from."""
        return self(batch)

    def validation_step(self, batch: Batch) -> Any:
        """As ``training_step``."""
        return self(batch)

    @property
    def loss_reduction(self) -> "PackLoss":
        """A fresh loss of one micro-batch, as NeMo asks for it."""
        return PackLoss(self)

    def loss_of(self, batch: Batch, output: Any) -> tuple[Tensor, Tensor]:
        """Return the summed loss of one micro-batch and its number of labels, and keep both for the report."""
        loss_sum, count = self._loss_function(batch, output)[:2]
        if parallel_state.get_tensor_model_parallel_rank() == 0:  # the others have the same number
            if self.trainer.training:
                self.accounting.train_loss.add(loss_sum, count)
            else:
                self.accounting.val_losses.setdefault(batch["dataloader_idx"], MeanLoss()).add(loss_sum, count)
        return loss_sum, count

    # Progress.

    @property
    def data_parallel_size(self) -> int:
        """Ranks that see different packed batches."""
        return int(parallel_state.get_data_parallel_world_size())

    def _count(self, batch: Batch) -> None:
        """Count a packed batch's sequences and tokens once, on the first of the ranks that share it."""
        counts = [0.0, float(batch["num_sequences"]), float(batch["num_tokens"])]
        if parallel_state.get_model_parallel_group().rank() or parallel_state.get_context_parallel_rank():
            counts = [0.0, 0.0, 0.0]
        self.accounting.add_micro_batch(torch.tensor(counts, dtype=torch.float64), batch.get("next_position"))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Count the step; Megatron has divided the gradients already."""
        self.accounting.finish_step(self.accounting.step_counts, data_parallel_size=self.data_parallel_size)

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
        """Do nothing: Megatron's optimizer clips."""


class ModelPiece(nn.Module):
    """A further model chunk of a rank's stage (interleaved pipeline): NeMo calls it like the first.

    Data, loss and progress are those of the Lightning module, which holds the first model chunk.

    Args:
        module: The model chunk.
        owner: The Lightning module.
    """

    def __init__(self, module: MegatronBioBertModel, owner: MegatronLightningModule) -> None:
        super().__init__()
        self.config = owner.config
        self.module: nn.Module = module
        self._owner = weakref.ref(owner)  # no child: it holds this piece
        self._num_micro_batches = 0

    @property
    def model(self) -> MegatronBioBertModel:
        """The model chunk without the training engine's wrappers."""
        return unwrapped(self.module)

    @property
    def owner(self) -> MegatronLightningModule:
        """The Lightning module."""
        owner = self._owner()
        assert owner is not None
        return owner

    def data_step(self, dataloader_iter: Iterator[Any]) -> dict[str, Any]:
        """Take the next packed batch, which the first model chunk has counted, and move it to the device."""
        batch, _, dataloader_idx = next(dataloader_iter)
        if self.owner.trainer.training:
            self.owner.seed_dropout(self._num_micro_batches, self.model)
            self._num_micro_batches = (self._num_micro_batches + 1) % self.owner.micro_batches_per_step
        return self.owner.placed({**batch, "dataloader_idx": dataloader_idx}, self.model)

    def forward_step(self, batch: Batch) -> Any:
        """Run the model chunk: gives what it sends on, the last one what the loss is computed from."""
        return place_forward_step(self.model, batch)

    @property
    def loss_reduction(self) -> "PackLoss":
        """A fresh loss of one micro-batch."""
        return PackLoss(self.owner)


def unwrapped(module: nn.Module | None) -> MegatronBioBertModel:
    """Take Megatron's wrappers off a model chunk."""
    model = unwrap_model(module)
    assert isinstance(model, MegatronBioBertModel)
    return model


class PackLoss:
    """The loss of one micro-batch in the form that NeMo's schedules call it.

    Args:
        module: Knows the loss function and keeps the report.
    """

    def __init__(self, module: MegatronLightningModule) -> None:
        self.module = module

    def setup(self, batch: Batch) -> None:
        """Take the batch that the next call is about."""
        self.batch = batch

    def __call__(self, output: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss sum, the number of labels, and the sum for ``reduce``."""
        loss_sum, count = self.module.loss_of(self.batch, output)
        return loss_sum, count.int(), loss_sum.detach()

    def reduce(self, loss_sums: list[Tensor]) -> Tensor:
        """Return this rank's sum over a step's micro-batches, for whoever watches NeMo's hooks."""
        return torch.stack(loss_sums).sum()


def megatron_fields(parallel: ParallelConfig) -> dict[str, Any]:
    """Translate to fields of Megatron's transformer config."""
    return {
        "tensor_model_parallel_size": parallel.tensor_model_parallel_size,
        "pipeline_model_parallel_size": parallel.pipeline_model_parallel_size,
        "virtual_pipeline_model_parallel_size": parallel.megatron_virtual_size,
        "num_layers_in_first_pipeline_stage": parallel.num_layers_in_first_pipeline_stage,
        "context_parallel_size": parallel.context_parallel_size,
        "sequence_parallel": parallel.sequence_parallel,
        "pipeline_dtype": torch.float32,
        "deallocate_pipeline_outputs": parallel.pipeline_model_parallel_size > 1,
        "calculate_per_token_loss": True,
        "perform_initialization": False,
    }


def share_tied_weight(model: MegatronBioBertModel) -> None:
    """Mark the two copies of a tied weight on the first and the last stage, as Megatron's gradient code reads it."""
    if not model.share_embeddings_and_output_weights or model.pre_process == model.post_process:
        return
    weight: Any = model.shared_embedding_or_output_weight()
    if weight is not None:
        weight.shared_embedding = True
        weight.shared = model.post_process  # counts once in the gradient's norm
