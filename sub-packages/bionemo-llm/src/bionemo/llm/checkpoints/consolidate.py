# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One folder in Hugging Face layout from the shards of a megatron run; needs neither NeMo nor Megatron nor a GPU."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.core.files import atomic_directory, write_json
from bionemo.llm.checkpoints.consolidate_config import ConsolidateConfig
from bionemo.llm.checkpoints.hf_directory import (
    CONFIG_FILE,
    HuggingFaceLayout,
    write_checksums,
    write_tensors,
)
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.layouts import find_layout
from bionemo.llm.checkpoints.shards import MOMENTS, SHARDS_DIR, ShardReader, moment_names, weights_in
from bionemo.llm.checkpoints.weight_files import WEIGHTS_FILE
from bionemo.llm.training.run_directory import STATE_DIR, RunDirectory


def consolidate_run(config: ConsolidateConfig) -> Path:
    """Do what ``consolidate_checkpoint`` was asked for; see :func:`consolidate`."""
    return consolidate(config.run_dir, config.out_dir, checkpoint=config.checkpoint, overwrite=config.overwrite)


def consolidate(run_dir: Path, out_dir: Path, *, checkpoint: str = "last", overwrite: bool = False) -> Path:
    """Make one folder of a checkpoint that lies in shards.

    The result opens in transformers, starts a new run (``--restore-from-checkpoint-path``), and, laid into a run
    folder, resumed by the lightning training engine: the optimizer's state is in it too.

    Args:
        run_dir: A run of the megatron engine, or one of its checkpoints.
        out_dir: Where to.
        checkpoint: Name under ``checkpoints/``: ``last``, ``best`` or ``step-00001000``.
        overwrite: Replace what is there.

    Returns:
        ``out_dir``.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
        DataFileError: The folder exists or cannot be written.
    """
    source = find_checkpoint(run_dir, checkpoint)
    state = read_json(source / STATE_DIR / "state.json")
    layout = find_layout(str(state.get("layout")))
    config = layout.config_from_hf(read_json(source / CONFIG_FILE), str(source))
    reader = ShardReader(source / SHARDS_DIR)
    reader.verify()
    tensors = whole_tensors(reader, layout, config)
    shapes = {name: tuple(tensor.shape) for name, tensor in layout.tensors_from_hf(tensors, config).items()}
    with atomic_directory(out_dir, overwrite=overwrite) as unfinished:
        for path in source.iterdir():
            if path.is_file():
                shutil.copyfile(path, unfinished / path.name)
        write_tensors(unfinished / WEIGHTS_FILE, tensors)
        (unfinished / STATE_DIR).mkdir()
        write_json(unfinished / STATE_DIR / "state.json", one_device_state(state))
        write_tensors(
            unfinished / STATE_DIR / "optimizer.safetensors",
            one_device_moments(reader, shapes, state["progress"]["step"]),
        )
        write_checksums(unfinished)
    return out_dir


def read_whole_tensors(checkpoint: Path, layout: HuggingFaceLayout[Any], config: Any) -> dict[str, Tensor]:
    """Read the weights of a checkpoint in shards under the names of the Hugging Face layout.

    Raises:
        CheckpointError: A shard is missing or damaged.
    """
    reader = ShardReader(checkpoint / SHARDS_DIR)
    reader.verify()
    return whole_tensors(reader, layout, config)


def whole_tensors(reader: ShardReader, layout: HuggingFaceLayout[Any], config: Any) -> dict[str, Tensor]:
    """Put weights together, each in the most exact copy that there is, under Hugging Face's names."""
    return layout.tensors_to_hf(weights_in(reader), config)


def find_checkpoint(run_dir: Path, checkpoint: str) -> Path:
    """Find a sharded checkpoint by its run folder and name, or take the folder itself.

    Raises:
        CheckpointError: There is none, or it is not in shards.
    """
    path = run_dir if (run_dir / STATE_DIR).is_dir() else RunDirectory(run_dir).checkpoints_dir / checkpoint
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint. Expected the folder of a run, or one of its checkpoints.")
    if not (path / SHARDS_DIR).is_dir():
        raise CheckpointError(
            f"{path}: has no {SHARDS_DIR}/. It was not written by the megatron engine; use it as it is."
        )
    return path.resolve()


def one_device_state(state: dict[str, Any]) -> dict[str, Any]:
    """Describe the run for the lightning engine; its parameter groups: those with weight decay, and those without."""
    kept = {name: value for name, value in state.items() if name not in ("engine", "layout", "world_size")}
    groups = sorted(state["groups"], key=lambda group: -group["weight_decay"])
    return {**kept, "groups": [groups[0], groups[-1]]}


def one_device_moments(reader: ShardReader, shapes: Mapping[str, tuple[int, ...]], step: int) -> dict[str, Tensor]:
    """Return the optimizer's tensors under the names of ``optimizer.safetensors``.

    Args:
        reader: The shards.
        shapes: Of every parameter on one device, where the vocabulary is padded less than on many ranks.
        step: Optimizer steps done.
    """
    tensors: dict[str, Tensor] = {}
    for moment in MOMENTS:
        for parameter, name in moment_names(reader.names, moment).items():
            tensors[f"{moment}.{parameter}"] = reader.read(name, shape=shapes[parameter])
            tensors[f"step.{parameter}"] = torch.tensor(float(step))
    return tensors
