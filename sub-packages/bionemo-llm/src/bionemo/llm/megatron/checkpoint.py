# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run on many ranks: each writes its part, any other layout can read them.

A checkpoint folder holds ``config.json`` and tokenizer files as everywhere, ``training_state/state.json`` with the
progress and the schedule, and ``shards/`` with weights and optimizer in Megatron-core's distributed format: every
tensor under its name in the whole model. Nothing else is in the shards; what is not a tensor is JSON.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.dict_utils import merge
from megatron.core.dist_checkpointing.serialization import get_default_save_sharded_strategy
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncCallsQueue
from megatron.core.dist_checkpointing.utils import extract_sharded_base

from bionemo.core.files import atomic_directory, write_text
from bionemo.llm.checkpoint import CONFIG_FILE, HuggingFaceLayout
from bionemo.llm.megatron.module import MegatronLightningModule
from bionemo.llm.model.sharding import METADATA
from bionemo.llm.shards import SHARDS_DIR, check_shards, layout_name
from bionemo.llm.training_state import TrainingState, write_state_file


OPTIMIZER_FORMAT = {"distrib_optim_sharding_type": "fully_reshardable"}
"""Megatron's only optimizer format that other tensor, pipeline and data parallel sizes can read, and whose step need
not be a tensor of the parameter's shape."""


class ShardedCheckpoints:
    """Saves and loads the checkpoints of one run; every rank calls every method.

    Args:
        layout: Names of the model family.
        async_save: Let a process of each rank write while training goes on.
    """

    def __init__(self, layout: HuggingFaceLayout[Any], *, async_save: bool = False) -> None:
        self.layout = layout
        self.async_save = async_save
        self._queue = AsyncCallsQueue()

    def save(
        self,
        path: Path,
        module: MegatronLightningModule,
        agreement: Mapping[str, Any],
        metrics: Mapping[str, float],
        written: Callable[[], None],
    ) -> None:
        """Save the current step; the folder appears when every rank has written its part.

        Args:
            path: Where to.
            module: What is saved, with the optimizer and the schedule of its trainer.
            agreement: Settings that a continued run must share.
            metrics: For the record.
            written: Called on the first rank once the folder is there.
        """
        self.finish(blocking=True)  # one save at a time
        stack, folder = ExitStack(), None
        is_first = dist.get_rank() == 0
        if is_first:
            folder = stack.enter_context(atomic_directory(path))
            (folder / SHARDS_DIR).mkdir()
            self._write_rest(folder, module, agreement, metrics)
        unfinished = module.trainer.strategy.broadcast(folder)
        tensors, _ = extract_sharded_base(sharded_state(module))

        def complete() -> None:
            with stack:
                pass  # the first rank's folder is synced and gets its name
            if is_first:
                written()

        request = dist_checkpointing.save(
            tensors,
            str(unfinished / SHARDS_DIR),
            sharded_strategy=get_default_save_sharded_strategy("torch_dist", 1),
            async_sharded_save=self.async_save,
        )
        if request is None:
            dist.barrier()
            complete()
            dist.barrier()
            return
        request.add_finalize_fn(complete)
        self._queue.schedule_async_request(request)

    def finish(self, *, blocking: bool) -> None:
        """Complete saves that every rank has written; blocking: wait for them."""
        if self._queue.get_num_unfinalized_calls():
            self._queue.maybe_finalize_async_calls(blocking)

    def close(self) -> None:
        """Wait for saves under way and end the writing processes."""
        self.finish(blocking=True)
        self._queue.close()

    def _write_rest(
        self,
        folder: Path,
        module: MegatronLightningModule,
        agreement: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Write everything but the tensors."""
        config = self.layout.config_to_hf(module.bert_config)
        write_text(folder / CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True) + "\n")
        self.layout.save_tokenizer(folder)
        optimizer = module.optimizers(use_pl_optimizer=False)
        groups = [
            {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")} for group in optimizer.param_groups
        ]
        write_state_file(
            folder,
            progress=module.progress,
            agreement=agreement,
            groups=groups,
            schedule=module.lr_schedulers(),
            metrics=dict(metrics),
            engine="megatron",
            layout=layout_name(self.layout),
            world_size=dist.get_world_size(),
        )


def sharded_state(module: MegatronLightningModule, *, is_loading: bool = False) -> dict[str, Any]:
    """Describe this rank's part of weights and optimizer, in the structure that the optimizer loads."""
    models = [module.model]
    weights = {f"{idx}": model.sharded_state_dict(metadata=METADATA) for idx, model in enumerate(models)}
    optimizer = module.optimizers(use_pl_optimizer=False).mcore_optimizer
    if is_loading:
        materialise_state(optimizer)
    metadata = {**METADATA, **(OPTIMIZER_FORMAT if module.parallel.use_distributed_optimizer else {})}
    state = optimizer.sharded_state_dict(weights, is_loading=is_loading, metadata=metadata)
    return {"weights": weights, "optimizer": state}


def load_shards(module: MegatronLightningModule, checkpoint: Path, state: TrainingState) -> None:
    """Put weights, optimizer and schedule where a checkpoint of any layout had them.

    Args:
        module: The finished engine, in ``on_fit_start``.
        checkpoint: A checkpoint folder of the megatron engine.
        state: What its ``state.json`` says.

    Raises:
        CheckpointError: A shard is missing or truncated, or a tensor is of another model.
    """
    check_shards(checkpoint / SHARDS_DIR)
    whole = sharded_state(module, is_loading=True)
    tensors, rest = extract_sharded_base(whole)
    loaded = dist_checkpointing.load(tensors, str(checkpoint / SHARDS_DIR))
    with torch.no_grad():
        for idx, model in enumerate([module.model]):
            own = model.state_dict()
            for name, tensor in loaded["weights"][f"{idx}"].items():
                own[name].copy_(tensor)
    merge(rest, loaded)
    optimizer = module.optimizers(use_pl_optimizer=False)
    set_step(rest["optimizer"], state.progress.step)
    optimizer.load_state_dict(rest["optimizer"])
    schedule = module.lr_schedulers()
    schedule.load_state_dict(state.schedule)
    for group, lr in zip(optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = lr


def torch_optimizers(optimizer: Any) -> list[torch.optim.Optimizer]:
    """Give the torch optimizers inside Megatron's."""
    chained = getattr(optimizer, "chained_optimizers", None)
    parts = [optimizer] if chained is None else chained
    return [part.optimizer for part in parts if part.optimizer is not None]


def materialise_state(optimizer: Any) -> None:
    """Give every parameter its moments, to load into: torch makes them at the first step only."""
    for inner in torch_optimizers(optimizer):
        for group in inner.param_groups:
            for parameter in group["params"]:
                if not inner.state[parameter]:
                    inner.state[parameter] = {
                        "step": torch.tensor(0.0),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }


def set_step(state: Any, step: int) -> None:
    """Write the number of steps done into an optimizer state, wherever its kind keeps it."""
    inner = state.get("optimizer", state)  # mixed precision and the distributed optimizer nest torch's
    if inner.get("state") is not None:
        inner["state"]["common_step"] = torch.tensor(float(step))
    for group in inner["param_groups"]:
        if "step" in group:
            group["step"] = float(step)
