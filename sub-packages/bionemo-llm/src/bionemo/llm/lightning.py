# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The engine on plain Lightning: one module for every model, on a CPU, one GPU or data-parallel ranks.

The loss of a step is one number whatever the layout: the sum over all packs of all ranks and accumulated
micro-batches, divided once by the number of labelled tokens of all of them, before clipping.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from bionemo.core.errors import BionemoError
from bionemo.core.randomness import Stream, hashed_seed
from bionemo.llm.checkpoints.training_state import Progress, TrainingState, restore_optimizer
from bionemo.llm.data.batch_collation import batch_collator, get_dtype_device, some_first
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.loss import masked_token_loss
from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer, build_schedule


if TYPE_CHECKING:
    from bionemo.core.data.size_aware_batching import PlanPosition


__all__ = [
    "BionemoLightningModule",
    "batch_collator",
    "get_dtype_device",
    "packed_forward_step",
    "packed_loss",
    "some_first",
]

Batch = Mapping[str, Any]
ForwardStep = Callable[[nn.Module, Batch], dict[str, Tensor]]
LossFunction = Callable[[Batch, dict[str, Tensor]], tuple[Tensor, Tensor]]


def packed_forward_step(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Run a packed batch through a BioBERT model, with logits for the labelled tokens alone.

    Args:
        module: A :class:`MegatronBioBertModel`.
        batch: A ``PackedBatch``, with ``label_rows`` [M] int64 where they were found before the move to the device.

    Returns:
        ``token_logits`` [M, V] and ``row_labels`` [M] int64.
    """
    assert isinstance(module, MegatronBioBertModel)
    used = slice(0, batch["num_tokens"])
    input_ids, labels, position_ids = batch["input_ids"][used], batch["labels"][used], batch["position_ids"][used]
    rows = batch.get("label_rows")
    if rows is None:
        rows = label_rows(labels)
    output = module.forward_packed(
        input_ids,
        position_ids,
        batch["cu_seqlens"],
        batch["max_seqlen"],
        num_tokens=batch["num_tokens"],
        logit_rows=rows,
    )
    assert output.token_logits is not None
    return {"token_logits": output.token_logits, "row_labels": labels[rows]}


def label_rows(labels: Tensor) -> Tensor:
    """Positions of the tokens that count in the loss, [M] int64; on a GPU this waits for the device."""
    return (labels != MLM_LOSS_IGNORE_INDEX).nonzero().squeeze(1)


def packed_loss(batch: Batch, forward_out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropy over a pack's labelled tokens, in nats, and their number."""
    return masked_token_loss(forward_out["token_logits"], forward_out["row_labels"])


def scale_and_clip(gradients: list[Tensor], factor: Tensor, max_norm: float | None) -> None:
    """Multiply gradients in place by a factor, and by a further one where their 2-norm would exceed a limit.

    Nothing is read back to the host.

    Args:
        gradients: Of one dtype, on one device.
        factor: A scalar on their device.
        max_norm: The limit; None or zero: none.
    """
    if max_norm:
        norms = torch._foreach_norm(gradients, 2, dtype=torch.float32)
        norm = torch.linalg.vector_norm(torch.stack(norms)) * factor
        factor = factor * (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor.to(gradients[0].dtype))


class BionemoLightningModule(pl.LightningModule):
    """Trains what ``config.configure_model(**model_construct_args)`` builds.

    Args:
        config: Has ``configure_model``, and ``get_loss_reduction_class`` where no ``loss_function`` is given.
        forward_step: ``(module, batch) -> outputs``.
        data_step: Taken by engines that draw batches themselves; this one does not.
        optimizer: AdamW and its schedule.
        model_transform: Applied once to the model after it was built, for example to add adapters.
        configure_init_model_parallel: Kept for callers; there is nothing to initialise on this engine.
        loss_function: ``(batch, outputs) -> (loss sum, number it is divided by)``, possibly with further results.
        module: A model built already; then ``configure_model`` builds nothing.
        resume: State of a run to go on with.
        dropout_seed: Makes dropout a function of it and of the batch's number in the run, so that a resumed run and
            other numbers of ranks draw the same; None leaves it to torch's global generators.
        model_construct_args: For ``config.configure_model``.
    """

    def __init__(
        self,
        config: Any,
        forward_step: ForwardStep = packed_forward_step,
        data_step: Callable[..., Any] | None = None,
        optimizer: OptimizerConfig | None = None,
        model_transform: Callable[[nn.Module], nn.Module] | None = None,
        configure_init_model_parallel: bool = False,
        *,
        loss_function: LossFunction | None = None,
        module: nn.Module | None = None,
        resume: TrainingState | None = None,
        dropout_seed: int | None = None,
        **model_construct_args: Any,
    ) -> None:
        super().__init__()
        self.config = config
        self.module = module
        self.optimizer_config = optimizer or OptimizerConfig()
        self.progress = Progress() if resume is None else resume.progress
        self.train_loss = MeanLoss()
        self.val_losses: dict[int, MeanLoss] = {}
        self._forward_step = forward_step
        self._data_step = data_step
        self._model_transform = model_transform
        self._model_construct_args = model_construct_args
        self._loss_function = loss_function or config.get_loss_reduction_class()()
        self._resume = resume
        self._dropout_seed = dropout_seed
        self._counts: Tensor | None = None  # labelled tokens, sequences and tokens of the step under way
        self._unread_counts: Tensor | None = None  # the same of the steps done, until they are wanted on the host
        self._gradient_factor: Tensor | None = None  # of the step under way, until it is applied
        self._num_micro_batches = 0
        self._next_position: PlanPosition | None = None

    def configure_model(self) -> None:
        """Build the model, once."""
        if self.module is None:
            self.module = self.config.configure_model(**self._model_construct_args)
        if self._model_transform is not None:
            self.module, self._model_transform = self._model_transform(self.module), None

    def configure_optimizers(self) -> dict[str, Any]:
        """Build optimizer and schedule, and put them where a resumed run had them."""
        assert self.module is not None
        settings = self.optimizer_config
        # With float16's loss scaling a fused step would unscale by itself, after the clipping: too late.
        optimizer = build_optimizer(self.module, settings, fused=not self.trainer.precision.startswith("16"))
        schedule = build_schedule(optimizer, settings)
        if self._resume is not None:
            restore_optimizer(self._resume, self.module, optimizer, schedule)
            self._resume = None
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Run one batch."""
        assert self.module is not None
        return self._forward_step(self.module, batch)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the summed loss of one batch, and the number that it is to be divided by."""
        loss_sum, count = self._loss_function(batch, self(batch))[:2]
        return loss_sum, count

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; the rows with labels are found before, so that the device is not waited for."""
        if device.type == "cuda" and isinstance(batch, dict) and "cu_seqlens" in batch and "label_rows" not in batch:
            batch = {**batch, "label_rows": label_rows(batch["labels"])}
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the sum of one micro-batch's loss to be differentiated; it is divided once, before the step."""
        if self._dropout_seed is not None:
            # Dropout takes no generator of its own. The number of the batch in the run is the same for every layout.
            number = self.progress.consumed_samples + self._num_micro_batches * self.data_parallel_size
            torch.manual_seed(hashed_seed(self._dropout_seed, Stream.DROPOUT, 0, number + self.global_rank))
        loss_sum, count = self.loss(batch)
        self.train_loss.add(loss_sum, count)
        sizes = [float(batch.get("num_sequences", 1)), float(batch.get("num_tokens", 0))]
        counts = torch.cat((count.detach().double().reshape(1), count.new_tensor(sizes, dtype=torch.float64)))
        self._counts = counts if self._counts is None else self._counts + counts
        self._num_micro_batches += 1
        self._next_position = batch.get("next_position")
        # Lightning divides by the number of accumulated micro-batches.
        return loss_sum * self.trainer.accumulate_grad_batches

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Find what turns the gradient of the sum into that of the mean over all labelled tokens of the step."""
        counts = self._counts
        assert counts is not None
        if self.trainer.world_size > 1:
            counts = self.trainer.strategy.reduce(counts, reduce_op="sum")
        # Data-parallel ranks averaged their gradients: times their number makes it the sum again.
        self._gradient_factor = self.trainer.world_size / counts[0].clamp(min=1)
        self._advance(counts)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Apply that factor and clip by the norm of all gradients, in one pass; Lightning calls it in any case."""
        if self._gradient_factor is not None:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            scale_and_clip(gradients, self._gradient_factor, gradient_clip_val)
            self._gradient_factor = None

    @property
    def data_parallel_size(self) -> int:
        """Ranks that see different batches."""
        return self.trainer.world_size

    def _advance(self, counts: Tensor) -> None:
        progress = self.progress
        progress.step += 1
        progress.consumed_samples += self._num_micro_batches * self.data_parallel_size
        self._unread_counts = counts if self._unread_counts is None else self._unread_counts + counts
        if self._next_position is not None:
            progress.window, progress.pack = self._next_position
        self._counts, self._num_micro_batches = None, 0

    def settle_progress(self) -> Progress:
        """Read the counts that were kept on the device into ``progress``."""
        if self._unread_counts is not None:
            _, sequences, tokens = self.read_counts(self._unread_counts)
            self.progress.consumed_sequences += int(sequences)
            self.progress.consumed_tokens += int(tokens)
            self._unread_counts = None
        return self.progress

    def read_counts(self, counts: Tensor) -> list[float]:
        """Give the labels, sequences and tokens of all ranks; here they were summed at every step."""
        values: list[float] = counts.tolist()
        return values

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add one batch to the validation loss of its loader."""
        if batch.get("num_tokens", 1) == 0:  # a filler pack of the last step
            return
        self.val_losses.setdefault(dataloader_idx, MeanLoss()).add(*self.loss(batch))

    def reduced_loss(self, loss: "MeanLoss") -> float:
        """Mean of a loss over all ranks since it was last read; resets it.

        Raises:
            BionemoError: It is not finite.
        """
        total = loss.take(self.device)
        if self.trainer.world_size > 1:
            total = self.trainer.strategy.reduce(total, reduce_op="sum")
        loss_sum, count = total.tolist()
        mean = loss_sum / count if count else float("nan")
        if count and not torch.isfinite(torch.tensor(mean)):
            raise BionemoError(
                f"the loss is {mean} after step {self.progress.step}. Lower --lr, or lengthen --warmup-steps; "
                "the last checkpoint is from before it."
            )
        return mean


class MeanLoss:
    """Sum and count of a loss, kept on the device until somebody wants to know."""

    def __init__(self) -> None:
        self._total: Tensor | None = None

    def add(self, loss_sum: Tensor, count: Tensor) -> None:
        """Add one batch."""
        total = torch.stack((loss_sum.detach().double(), count.detach().double()))
        self._total = total if self._total is None else self._total + total

    def take(self, device: torch.device) -> Tensor:
        """Give [sum, count] in float64 and start again."""
        total, self._total = self._total, None
        return torch.zeros(2, dtype=torch.float64, device=device) if total is None else total
