# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The training engine on plain Lightning: one module for every model, on a CPU, one GPU or data-parallel ranks.

The loss of a step is one number whatever the layout: the sum over all packed batches of all ranks and accumulated
micro-batches, divided once by the number of labeled tokens of all of them, before clipping.
"""

from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from bionemo.core.randomness import Stream, hashed_seed
from bionemo.llm.checkpoints.training_state import Progress, TrainingState, restore_optimizer
from bionemo.llm.data.batch_collation import batch_collator, get_dtype_device, some_first
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.loss import masked_token_loss
from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer, build_schedule
from bionemo.llm.training.ranks.sharded_model import local, shard_group, take_part
from bionemo.llm.training.step_accounting import MeanLoss, StepAccounting, sum_over_ranks


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
    """Run a packed batch through a BioBERT model, with logits for the labeled tokens alone.

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
    """Sum of the cross-entropy over a packed batch's labeled tokens, in nats, and their number."""
    return masked_token_loss(forward_out["token_logits"], forward_out["row_labels"])


def scale_and_clip(gradients: list[Tensor], factor: Tensor, max_norm: float | None) -> None:
    """Multiply gradients in place by a factor, and by a further one where their 2-norm would exceed a limit.

    Nothing is read back to the host, unless sharded gradients lie there.

    Args:
        gradients: Of one dtype, on one device; sharded ones are scaled by the norm of the whole.
        factor: A scalar on the device of the model.
        max_norm: The limit; None or zero: none.
    """
    group, gradients = shard_group(gradients), [local(gradient) for gradient in gradients]
    device = gradients[0].device
    if max_norm:
        norms = torch._foreach_norm(gradients, 2, dtype=torch.float32)
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if group is not None:  # each rank has other rows
            square = norm.square().to(factor.device)
            torch.distributed.all_reduce(square, group=group)
            norm = square.sqrt()
        norm = norm * factor
        factor = factor * (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor.to(device, gradients[0].dtype))


class BionemoLightningModule(pl.LightningModule):
    """Trains what ``config.configure_model(**model_construct_args)`` builds.

    Args:
        config: Has ``configure_model``, and ``get_loss_reduction_class`` where no ``loss_function`` is given.
        forward_step: ``(module, batch) -> outputs``.
        data_step: Taken by training engines that draw batches themselves; this one does not.
        optimizer: AdamW and its schedule.
        model_transform: Applied once to the model after it was built, for example to add adapters.
        configure_init_model_parallel: Kept for callers; there is nothing to initialize on this training engine.
        loss_function: ``(batch, outputs) -> (loss sum, number it is divided by)``, possibly with further results.
        module: A model built already; then ``configure_model`` builds nothing.
        resume: State of a run to resume.
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
        self.accounting = StepAccounting(None if resume is None else resume.progress)
        self._forward_step = forward_step
        self._data_step = data_step
        self._model_transform = model_transform
        self._model_construct_args = model_construct_args
        self._loss_function = loss_function or config.get_loss_reduction_class()()
        self._resume = resume
        self._dropout_seed = dropout_seed
        self._gradient_factor: Tensor | None = None  # of the step under way, until it is applied

    @property
    def progress(self) -> Progress:
        """How far the run has come; ``accounting.settle`` brings the counts of sequences and tokens up to date."""
        return self.accounting.progress

    def configure_model(self) -> None:
        """Build the model, once."""
        if self.module is None:
            self.module = self.config.configure_model(**self._model_construct_args)
        if self._model_transform is not None:
            self.module, self._model_transform = self._model_transform(self.module), None

    def configure_optimizers(self) -> Any:
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
        """Return the summed loss of one batch, and the number that it is to be divided by."""
        loss_sum, count = self._loss_function(batch, self(batch))[:2]
        return loss_sum, count

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; the rows with labels are found before, so that the device is not waited for."""
        if device.type == "cuda" and isinstance(batch, dict) and "cu_seqlens" in batch and "label_rows" not in batch:
            batch = {**batch, "label_rows": label_rows(batch["labels"])}
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of one micro-batch's loss to be differentiated; it is divided once, before the step."""
        if self._dropout_seed is not None:
            # Dropout takes no generator of its own. The number of the batch in the run is the same for every layout.
            number = self.progress.consumed_samples + self.accounting.num_micro_batches * self.trainer.world_size
            torch.manual_seed(hashed_seed(self._dropout_seed, Stream.DROPOUT, 0, number + self.global_rank))
        loss_sum, count = self.loss(batch)
        self.accounting.train_loss.add(loss_sum, count)
        exact = count.detach().double().reshape(())
        # Numbers of the host are filled in on the device: a copy would wait until it has done the forward pass.
        sizes = [exact.new_full((), batch.get(name, rest)) for name, rest in (("num_sequences", 1), ("num_tokens", 0))]
        counts = torch.stack((exact, *sizes))
        self.accounting.add_micro_batch(counts, batch.get("next_position"))
        # Lightning divides by the number of accumulated micro-batches.
        return loss_sum * self.trainer.accumulate_grad_batches

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Find what turns the gradient of the sum into that of the mean over all labeled tokens of the step."""
        counts = sum_over_ranks(self.accounting.step_counts, self.trainer)
        # Data-parallel ranks averaged their gradients: times their number makes it the sum again.
        self._gradient_factor = self.trainer.world_size / counts[0].clamp(min=1)
        self.accounting.finish_step(counts, data_parallel_size=self.trainer.world_size)

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

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add one batch to the validation loss of its loader."""
        if batch.get("num_tokens", 1) == 0:  # a filler pack of the last step
            assert self.module is not None
            take_part(self.module)
            return
        self.accounting.val_losses.setdefault(dataloader_idx, MeanLoss()).add(*self.loss(batch))
