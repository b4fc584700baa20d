# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Loggers of a run: their folders, Weights & Biases settings, and what happens where a package is missing."""

import importlib.util
import logging

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from pydantic import ValidationError

from bionemo.core.errors import MissingDependencyError
from bionemo.llm.utils.logger_utils import WandbConfig, WandbLoggerOptions, setup_nemo_lightning_logger


HAS_WANDB = importlib.util.find_spec("wandb") is not None


def test_without_loggers_there_is_only_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="bionemo.llm.utils.logger_utils"):
        run = setup_nemo_lightning_logger("exp", tmp_path)
    assert "exp: neither TensorBoard nor Weights & Biases is turned on" in caplog.text
    assert run.loggers == []
    assert run.run_dir == tmp_path / "exp"
    assert run.checkpoints_dir == tmp_path / "exp" / "checkpoints"
    assert not list(tmp_path.iterdir())


def test_checkpoint_callback_gets_the_runs_folder(tmp_path):
    callback = ModelCheckpoint()
    run = setup_nemo_lightning_logger("exp", tmp_path, ckpt_callback=callback)
    assert callback.dirpath == str(tmp_path / "exp" / "dev" / "checkpoints")
    assert run.checkpoints_dir == tmp_path / "exp" / "dev" / "checkpoints"


def test_checkpoint_callback_keeps_a_folder_of_its_own(tmp_path):
    callback = ModelCheckpoint(dirpath=tmp_path / "mine")
    assert setup_nemo_lightning_logger("exp", tmp_path, ckpt_callback=callback).checkpoints_dir == tmp_path / "mine"


def test_tensorboard_events_are_written_to_the_run(tmp_path, caplog):
    pytest.importorskip("tensorboard")
    run = setup_nemo_lightning_logger("exp", tmp_path, initialize_tensorboard_logger=True)
    assert not caplog.records
    (tensorboard,) = run.loggers
    tensorboard.log_metrics({"loss": 1.5}, step=3)
    tensorboard.finalize("success")
    (events,) = (tmp_path / "exp" / "dev").glob("events.out.tfevents.*")
    assert b"loss" in events.read_bytes()


def test_wandb_settings():
    config = WandbConfig(project="proteins", tags=["a", "b"])
    assert config.model_dump() == {
        "entity": None,
        "project": "proteins",
        "name": None,
        "tags": ("a", "b"),
        "group": None,
        "job_type": None,
        "offline": False,
        "id": None,
        "anonymous": False,
        "log_model": False,
    }
    assert WandbLoggerOptions is WandbConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "project\n  Field required"),
        ({"project": "p", "projekt": "q"}, "projekt\n  Extra inputs are not permitted"),
        ({"project": "p", "offline": True, "log_model": "all"}, "which offline forbids"),
        ({"project": "p", "log_model": "some"}, "log_model"),
    ],
)
def test_wrong_wandb_settings_are_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        WandbConfig(**settings)


@pytest.mark.skipif(HAS_WANDB, reason="wandb is installed")
def test_wandb_not_installed(tmp_path):
    with pytest.raises(MissingDependencyError, match=r"wandb is not installed\. Install it with: pip install 'wandb'"):
        setup_nemo_lightning_logger("exp", tmp_path, wandb_config=WandbConfig(project="p"))


@pytest.mark.nemo_env
@pytest.mark.skipif(not HAS_WANDB, reason="wandb is not installed")
@pytest.mark.parametrize("keyword", ["wandb_config", "wandb_kwargs"])
def test_wandb_offline(tmp_path, keyword):
    config = WandbConfig(project="proteins", entity="lab", tags=["x"], offline=True, id="run1", name="shown")
    (wandb,) = setup_nemo_lightning_logger("exp", tmp_path, **{keyword: config}).loggers
    assert (wandb.name, wandb.version) == ("proteins", "run1")
    assert wandb._wandb_init["entity"] == "lab"
    assert wandb._wandb_init["name"] == "shown"
    assert wandb._wandb_init["tags"] == ("x",)
    assert wandb._offline
