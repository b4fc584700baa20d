# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The engine's arithmetic: one division per step, whatever the micro-batches, and no silent NaN."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from bionemo.core.errors import BionemoError, CheckpointError, ConfigError
from bionemo.llm.data.packing import pack_padded
from bionemo.llm.lightning import BionemoLightningModule, packed_forward_step, packed_loss, scale_and_clip
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer, trainable_parameters
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.trainer import build_trainer, resolve_accelerator, resolve_precision


TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
CONFIG = BioBertConfig(num_layers=1, hidden_size=32, num_attention_heads=4, hidden_dropout=0.0, attention_dropout=0.0)


def packed_batch(seed: int, num_labels: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 30, (2, 9), generator=generator)
    labels = torch.full_like(ids, -100)
    labels.view(-1)[:num_labels] = ids.view(-1)[:num_labels]
    return pack_padded(ids, ids != 1, labels=labels)


def build_module(optimizer: OptimizerConfig) -> BionemoLightningModule:
    model = build_model(CONFIG, TOKENIZER, seed=1)
    return BionemoLightningModule(
        CONFIG, packed_forward_step, optimizer=optimizer, loss_function=packed_loss, module=model
    )


def fit(
    module: BionemoLightningModule, batches: list, accumulate: int, callbacks: list[pl.Callback] | None = None
) -> None:
    trainer = build_trainer(
        accelerator="cpu",
        precision="32-true",
        devices=1,
        num_nodes=1,
        max_steps=len(batches) // accumulate,
        val_check_interval=1000,
        limit_val_batches=0,
        accumulate_grad_batches=accumulate,
        gradient_clip=0.5,
        callbacks=callbacks or [],
        loggers=[],
    )
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))


def test_every_label_of_a_step_weighs_the_same() -> None:
    """Micro-batches with 3, 8 and 1 labels: one division by twelve, then clipping, then AdamW."""
    settings = OptimizerConfig(lr=1e-2, warmup_steps=1, max_steps=10, gradient_clip=0.5)
    batches = [packed_batch(seed, labels) for seed, labels in ((0, 3), (1, 8), (2, 1))]
    module = build_module(settings)
    fit(module, batches, accumulate=3)

    model = build_model(CONFIG, TOKENIZER, seed=1)
    optimizer = build_optimizer(model, settings)
    for group in optimizer.param_groups:
        group["lr"] = settings.min_lr
    total = sum(packed_loss(batch, packed_forward_step(model, batch))[0] for batch in batches)
    (total / 12).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    for (name, ours), theirs in zip(module.module.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0, msg=name)
    progress = module.accounting.settle(module.trainer)
    assert (progress.step, progress.consumed_samples, progress.consumed_sequences) == (1, 3, 6)
    assert progress.consumed_tokens == 54


@pytest.mark.parametrize("max_norm", [0.01, 1e6, None], ids=str)
def test_scaling_and_clipping_in_one_pass_is_that_of_torch(max_norm: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 5), (7,), (2, 2))]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    ours = [parameter.grad.clone() for parameter in parameters]
    scale_and_clip(ours, torch.tensor(1 / 12), max_norm)
    for parameter in parameters:
        parameter.grad /= 12
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    torch.testing.assert_close(ours, [parameter.grad for parameter in parameters])


def test_dropout_follows_the_number_of_the_batch_in_the_run() -> None:
    """Two batches at once or one after the other, from the start or after another run: the same masks."""
    config = replace(CONFIG, hidden_dropout=0.5)
    settings = OptimizerConfig(lr=1e-9, warmup_steps=1, max_steps=10)
    batches = [packed_batch(seed, 9) for seed in (0, 1)]

    class Losses(pl.Callback):
        def __init__(self) -> None:
            self.values = []

        def on_train_batch_end(self, trainer, module, outputs, *args) -> None:
            self.values.append(outputs["loss"].item())

    def losses(batches: list, accumulate: int, consumed: int = 0, seed: int | None = 7) -> list[float]:
        model = build_model(config, TOKENIZER, seed=1)
        module = BionemoLightningModule(
            config, optimizer=settings, loss_function=packed_loss, module=model, dropout_seed=seed
        )
        module.progress.consumed_samples = consumed
        recorder = Losses()
        fit(module, batches, accumulate, callbacks=[recorder])
        return recorder.values

    expected = losses(batches, accumulate=1)
    torch.rand(3)  # another place of the global generator
    assert losses(batches, accumulate=2) == pytest.approx(expected, rel=1e-5)
    assert losses(batches[1:], accumulate=1, consumed=1) == pytest.approx(expected[1:], rel=1e-5)
    assert losses(batches, accumulate=1, seed=8) != pytest.approx(expected, rel=1e-3)


def test_biases_and_norms_do_not_decay() -> None:
    model = build_model(CONFIG, TOKENIZER, seed=1)
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1))
    decayed, kept = optimizer.param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in kept["params"])
    in_order = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert in_order == [id(p) for p in trainable_parameters(model).values()]


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    module = build_module(OptimizerConfig(max_steps=4, warmup_steps=1))
    with torch.no_grad():
        module.module.lm_head.dense.bias.fill_(float("nan"))

    class Reader(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args) -> None:
            module.accounting.mean(module.accounting.train_loss, trainer)

    with pytest.raises(BionemoError, match="the loss is nan after step 1") as caught:
        fit(module, [packed_batch(0, 3)], accumulate=1, callbacks=[Reader()])
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("precision", "accelerator", "expected"),
    [
        ("auto", "gpu", "bf16-mixed"),
        ("auto", "cpu", "32-true"),
        ("32", "gpu", "32-true"),
        ("bf16", "cpu", "bf16-true"),
    ],
)
def test_precisions_have_lightnings_names(precision: str, accelerator: str, expected: str) -> None:
    assert resolve_precision(precision, accelerator) == expected


def test_float16_on_a_cpu_and_a_missing_gpu_are_refused() -> None:
    with pytest.raises(ConfigError, match="--precision 16-mixed"):
        resolve_precision("16-mixed", "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="--accelerator gpu"):
            resolve_accelerator("gpu")


def test_run_directory_counts_whole_checkpoints_alone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.prepare(resume=False)
    for name in ("step-00000010", "step-00000002", ".step-00000011.tmp", "step-12", "other"):
        (run.checkpoints_dir / name).mkdir(parents=True)
    assert [path.name for path in run.checkpoints()] == ["step-00000002", "step-00000010"]
    run.point_to("last", run.checkpoint_path(10))
    run.point_to("last", run.checkpoint_path(2))
    assert (run.checkpoints_dir / "last").resolve().name == "step-00000002"
    (run.checkpoints_dir / "best").mkdir()
    with pytest.raises(CheckpointError, match="best: is not a link"):
        run.point_to("best", run.checkpoint_path(2))
