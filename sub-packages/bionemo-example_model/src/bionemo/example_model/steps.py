# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the example: pretraining, fine-tuning, prediction and the picture."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bionemo.core.config import to_yaml
from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.core.files import atomic_file, write_text
from bionemo.core.progress import progress_bar
from bionemo.example_model.config import FinetuneConfig, PredictConfig, TrainConfig
from bionemo.example_model.digits import SIZE
from bionemo.example_model.lightning_basic import (
    BionemoLightningModule,
    ExampleFineTuneBothConfig,
    ExampleFineTuneConfig,
    ExampleGenericConfig,
    MNISTDataModule,
    PretrainConfig,
    freeze_parent,
)
from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.training.trainer import build_trainer, resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)


def train(config: TrainConfig) -> Path:
    """Train the auto-encoder and return its checkpoint."""
    return _fit(config, PretrainConfig(), None)


def finetune(config: FinetuneConfig) -> Path:
    """Train a classifier from a checkpoint and return its own."""
    model_class = ExampleFineTuneBothConfig if config.keep_decoder else ExampleFineTuneConfig
    has_head = "FineTune" in _architecture(config.checkpoint_path)
    new_head = () if has_head else ("digit_classifier",)
    path = str(config.checkpoint_path)
    model_config = model_class(initial_ckpt_path=path, initial_ckpt_skip_keys_with_these_prefixes=new_head)
    return _fit(config, model_config, freeze_parent if config.freeze_parent else None)


def _fit(config: TrainConfig, model_config: ExampleGenericConfig, transform: Any) -> Path:
    torch.manual_seed(config.seed)
    data = MNISTDataModule(config.data_dir, config.batch_size)
    module = BionemoLightningModule(model_config, config.lr, transform)
    module.configure_model()
    accelerator = resolve_accelerator(config.accelerator)
    trainer = build_trainer(
        accelerator=accelerator,
        precision=resolve_precision(config.precision, accelerator),
        devices=config.num_gpus,
        num_nodes=1,
        max_steps=config.num_steps,
        val_check_interval=min(config.val_check_interval, config.num_steps),
        limit_val_batches=config.limit_val_batches,
        accumulate_grad_batches=1,
        gradient_clip=0.0,
        callbacks=[],
        loggers=[],
    )
    with one_thread():
        trainer.fit(module, data)
    checkpoint = config.result_dir / "checkpoint"
    logger.info("val_loss %.4f after %d steps", float(trainer.callback_metrics["val_loss"]), config.num_steps)
    if trainer.is_global_zero:
        module.save(checkpoint)
        write_text(config.result_dir / "config.yaml", to_yaml(config))
        draw(config.result_dir / "digits.png", data, module.module)
    return checkpoint


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: several would wait for each other longer than these small layers take."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def predict(config: PredictConfig) -> Path:
    """Classify the test digits in their order and return the table.

    Raises:
        CheckpointError: The checkpoint's model does not classify.
    """
    name = _architecture(config.checkpoint_path)
    classes = {c.model_cls.__name__: c for c in (ExampleFineTuneBothConfig, ExampleFineTuneConfig)}
    if name not in classes:
        raise CheckpointError(f"{config.checkpoint_path}: holds {name}, which has no classifier. Run finetune first.")
    model = classes[name](initial_ckpt_path=str(config.checkpoint_path)).configure_model().eval()
    data = MNISTDataModule(config.data_dir, config.batch_size)
    data.setup("predict")
    wanted = len(data.mnist_test) if config.num_digits is None else config.num_digits
    if not 1 <= wanted <= len(data.mnist_test):
        raise ConfigError(f"--num-digits {wanted}: expected 1 to {len(data.mnist_test)}.")
    rows, correct = ["idx,label,prediction"], 0
    for batch in progress_bar(data.test_dataloader(), unit="batch", description="predicting"):
        with torch.inference_mode():
            predictions = _logits(model(batch["data"])).argmax(dim=1).tolist()
        found = list(zip(batch["idx"].tolist(), batch["label"].tolist(), predictions, strict=True))
        for idx, label, prediction in found[: wanted - len(rows) + 1]:
            rows.append(f"{idx},{label},{prediction}")
            correct += label == prediction
        if len(rows) > wanted:
            break
    logger.info("accuracy %.4f on %d test digits", correct / wanted, wanted)
    path = config.result_dir / "predictions.csv"
    write_text(path, "\n".join(rows) + "\n")
    draw(config.result_dir / "digits.png", data, model)
    return path


def draw(path: Path, data: MNISTDataModule, model: Any) -> None:
    """Picture of ten test digits with the model's reconstructions below and answers above, where it has them."""
    from matplotlib.figure import Figure

    digits = [data.mnist_test[index] for index in range(10)]
    was_training = model.training
    with torch.inference_mode():
        device = next(model.parameters()).device
        output = model.eval()(torch.stack([digit["data"] for digit in digits]).to(device))
    model.train(was_training)
    logits = _logits(output)
    rows = [[digit["data"].reshape(SIZE, SIZE) for digit in digits]]
    if isinstance(output, dict):
        rows.append([x_hat.reshape(SIZE, SIZE).float().cpu() for x_hat in output["x_hat"]])
    figure = Figure(figsize=(10, 0.4 + 1.1 * len(rows)), layout="tight")
    for (row, column), axes in np.ndenumerate(figure.subplots(len(rows), 10, squeeze=False)):
        axes.imshow(rows[row][column].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        if row == 0 and logits is not None:
            axes.set_title(f"{digits[column]['label']} → {int(logits[column].argmax())}", fontsize=9)
        if column == 0:
            axes.set_ylabel(("digit", "decoded")[row], fontsize=9)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _logits(output: Any) -> Any:
    return output.get("digit_logits") if isinstance(output, dict) else output


def _architecture(checkpoint_path: Path) -> str:
    names = read_json(checkpoint_path / CONFIG_FILE).get("architectures") or ["nothing that this example knows"]
    return str(names[0])
