# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A small GPT on the bytes of a text file, trained by the training engine of ESM-2, into a run directory.

It shows what a language model brings to it: a network, the layout of its checkpoint, batches, and a loss
as sum and count. ``GPT2LMHeadModel.from_pretrained`` opens the checkpoints; the token ids are the bytes.

Letters: B batch, S sequence, H hidden, N heads, D head dim, V vocabulary.
"""

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bionemo.core.config import to_yaml
from bionemo.core.data.multi_epoch_dataset import EpochIndex, MultiEpochDatasetResampler
from bionemo.core.errors import DataError, MissingFileError
from bionemo.core.files import write_text
from bionemo.core.ranks import process_rank
from bionemo.example_model.gpt_config import GPTPretrainConfig
from bionemo.llm.checkpoints.hf_directory import load_checkpoint, load_state
from bionemo.llm.checkpoints.model_card import ModelCard
from bionemo.llm.checkpoints.training_state import check_fingerprint, read_training_state
from bionemo.llm.lightning import BionemoLightningModule
from bionemo.llm.training.callbacks import MetricsWriter, ProgressBar
from bionemo.llm.training.checkpoint_writer import CheckpointWriter, HuggingFaceSink
from bionemo.llm.training.loss_plot import PlotTexts
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.run_card import given_data, optimizer_rows
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.stop_requests import StopRequests, stop_requests
from bionemo.llm.training.trainer import build_trainer, continue_from, resolve_accelerator, resolve_precision


VOCAB_SIZE = 256


class GPTBlock(nn.Module):
    """Attention to earlier tokens, then a feed-forward layer, each behind a norm."""

    def __init__(self, config: GPTPretrainConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.ln_1, self.ln_2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(size, 3 * size), "c_proj": nn.Linear(size, size)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(size, 4 * size), "c_proj": nn.Linear(4 * size, size)})

    def forward(self, x_BSH: Tensor) -> Tensor:
        """[B, S, H] to the same shape."""
        qkv_BS3ND = self.attn["c_attn"](self.ln_1(x_BSH)).unflatten(-1, (3, self.num_heads, -1))
        q_BNSD, k_BNSD, v_BNSD = qkv_BS3ND.permute(2, 0, 3, 1, 4)
        mixed_BNSD = nn.functional.scaled_dot_product_attention(q_BNSD, k_BNSD, v_BNSD, is_causal=True)
        x_BSH = x_BSH + self.attn["c_proj"](mixed_BNSD.transpose(1, 2).flatten(2))
        widened = nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x_BSH)), approximate="tanh")
        out_BSH: Tensor = x_BSH + self.mlp["c_proj"](widened)
        return out_BSH


class GPT(nn.Module):
    """GPT-2's network and initial weights (Radford et al. 2019), with its parameter names."""

    def __init__(self, config: GPTPretrainConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(VOCAB_SIZE, config.hidden_size)
        self.wpe = nn.Embedding(config.max_seq_length, config.hidden_size)
        self.h = nn.ModuleList(GPTBlock(config) for _ in range(config.num_layers))
        self.ln_f = nn.LayerNorm(config.hidden_size)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:  # smaller where a branch joins the residual stream
                nn.init.normal_(parameter, std=0.02 / ((2 * config.num_layers) ** 0.5 if "c_proj" in name else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, input_ids: Tensor) -> Tensor:
        """[B, S] int64 token ids to [B, S, V] logits of the next token."""
        x_BSH = self.wte(input_ids) + self.wpe.weight[: input_ids.shape[1]]
        for block in self.h:
            x_BSH = block(x_BSH)
        logits_BSV: Tensor = self.ln_f(x_BSH) @ self.wte.weight.T
        return logits_BSV


class GPT2Layout:
    """GPT-2's files: names behind "transformer.", and matrices of c_* layers transposed."""

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
        """State dict to file."""
        return {f"transformer.{name}": self._turned(name, tensor) for name, tensor in state.items()}

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
        """File to state dict."""
        names = {name.removeprefix("transformer."): name for name in tensors}
        return {name: self._turned(name, tensors[in_file]) for name, in_file in names.items()}

    def _turned(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.T.contiguous() if ".c_" in name and tensor.ndim == 2 else tensor

    def config_to_hf(self, config: Any) -> dict[str, Any]:
        """What transformers needs to build the same network."""
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": VOCAB_SIZE,
            "n_positions": config.max_seq_length,
            "n_embd": config.hidden_size,
            "n_layer": config.num_layers,
            "n_head": config.num_attention_heads,
            "activation_function": "gelu_new",
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": None,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        }

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> Any:
        """As it is: the flags say what to build, and the weights must fit."""
        return dict(values)

    def save_tokenizer(self, directory: Path) -> None:
        """Bytes need none."""


class TextWindows(Dataset[Tensor]):
    """Samples of ``max_seq_length + 1`` bytes, each beginning with the last byte of the one before.

    Args:
        data: [n] uint8.
        max_seq_length: Tokens of a sample that are predicted.
    """

    def __init__(self, data: np.ndarray, max_seq_length: int) -> None:
        self.data, self.max_seq_length = data, max_seq_length

    def __len__(self) -> int:
        return (len(self.data) - 1) // self.max_seq_length

    def __getitem__(self, index: EpochIndex | int) -> Tensor:
        start = (index.idx if isinstance(index, EpochIndex) else index) * self.max_seq_length
        return torch.from_numpy(self.data[start : start + self.max_seq_length + 1].astype(np.int64))


class MicroBatches:
    """Micro-batch k of a run is its samples k·B … k·B+B-1; rank r of W takes every W-th of those not consumed."""

    def __init__(self, micro_batch_size: int, consumed_samples: int, rank: int, world_size: int) -> None:
        self.micro_batch_size, self.consumed_samples = micro_batch_size, consumed_samples
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[range]:
        for k in itertools.count(self.consumed_samples + self.rank, self.world_size):
            yield range(k * self.micro_batch_size, (k + 1) * self.micro_batch_size)


def collate(samples: list[Tensor]) -> dict[str, Any]:
    """Stack samples; the training engine counts what it finds under ``num_sequences`` and ``num_tokens``."""
    tokens_BS = torch.stack(samples)
    return {"tokens": tokens_BS, "num_sequences": len(samples), "num_tokens": tokens_BS[:, 1:].numel()}


def forward_step(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    """Logits for every token but the last, which is a label only."""
    return model(batch["tokens"][:, :-1])


def loss_sum_and_count(batch: Mapping[str, Any], logits_BSV: Any) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy in nats, and the number of tokens."""
    labels_BS = batch["tokens"][:, 1:]
    loss = nn.functional.cross_entropy(logits_BSV.float().flatten(0, 1), labels_BS.flatten(), reduction="sum")
    return loss, loss.new_tensor(labels_BS.numel())


def pretrain(config: GPTPretrainConfig) -> Path:
    """Train, and leave a run directory; a run that was stopped continues with ``resume_if_exists``.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
        RunStopped: SIGINT or SIGTERM asked for it; what was trained is saved.
    """
    run = RunDirectory(config.result_dir / config.experiment_name)
    with stop_requests() as stops, run.locked_by_first_rank(resume=config.resume_if_exists):
        fit(config, run, stops)
    return run.path


def fit(config: GPTPretrainConfig, run: RunDirectory, stops: StopRequests) -> None:
    """Train in a run directory that is locked.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    train_bytes, valid_bytes = read_bytes(config)
    module, fingerprint = build_module(config, run, size_bytes=len(train_bytes))
    trainer = build_run_trainer(config, run, module, fingerprint, stops)
    rank, world_size = trainer.global_rank, trainer.world_size
    train_data = TextWindows(train_bytes, config.max_seq_length)
    valid_data = TextWindows(valid_bytes, config.max_seq_length)
    if len(valid_data) < world_size:
        raise DataError(f"{config.data_path}: {len(valid_data)} validation samples for {world_size} ranks. Add text.")
    endless = MultiEpochDatasetResampler(train_data, num_epochs=1_000_000, seed=config.seed)
    batches = MicroBatches(config.micro_batch_size, module.progress.consumed_samples, rank, world_size)
    mine = range(rank, len(valid_data), world_size)
    trainer.fit(
        module,
        DataLoader(endless, batch_sampler=batches, collate_fn=collate),  # type: ignore[arg-type]  # ranges
        DataLoader(valid_data, batch_size=config.micro_batch_size, sampler=mine, collate_fn=collate),
    )


def read_bytes(config: GPTPretrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Map the file, and cut it into training and validation bytes.

    Raises:
        MissingFileError: There is no such file.
        DataError: It is too short for one sample of each.
    """
    path = config.data_path
    if not path.is_file():
        raise MissingFileError(f"--data-path {path}: no such file.")
    size = path.stat().st_size
    num_valid = round(size * config.valid_fraction)
    shortest = config.max_seq_length + 1
    if min(num_valid, size - num_valid) < shortest:
        raise DataError(
            f"--data-path {path}: {size - num_valid} bytes for training and {num_valid} for validation, "
            f"each needs {shortest} or more. Give more text, or lower --max-seq-length."
        )
    data = np.memmap(path, dtype=np.uint8, mode="r")
    return data[: size - num_valid], data[size - num_valid :]


def build_module(
    config: GPTPretrainConfig, run: RunDirectory, *, size_bytes: int
) -> tuple[BionemoLightningModule, dict[str, Any]]:
    """Build the network, new or as the run's last checkpoint has it, and what a resumed run must share."""
    names = "seed max_seq_length micro_batch_size lr weight_decay num_steps valid_fraction".split()
    fingerprint = {**{name: getattr(config, name) for name in names}, "size_bytes": size_bytes}
    torch.manual_seed(config.seed)
    model = GPT(config)
    checkpoint = run.latest_checkpoint() if config.resume_if_exists else None
    resume = None
    if checkpoint is not None:
        resume = read_training_state(checkpoint)
        check_fingerprint(resume, fingerprint, checkpoint)
        load_state(model, load_checkpoint(checkpoint, GPT2Layout()).state, checkpoint)
    optimizer = OptimizerConfig(
        lr=config.lr,
        warmup_steps=config.num_steps // 10,
        max_steps=config.num_steps,
        weight_decay=config.weight_decay,
    )
    module = BionemoLightningModule(
        config, forward_step, optimizer=optimizer, loss_function=loss_sum_and_count, module=model, resume=resume
    )
    return module, fingerprint


def record_settings(config: GPTPretrainConfig, run: RunDirectory, *step: Any) -> None:
    """Write ``config.yaml`` after the first step: a start that fails before has written nothing."""
    if process_rank() == 0 and not run.config_path.exists():
        write_text(run.config_path, to_yaml(config))


def build_run_trainer(
    config: GPTPretrainConfig,
    run: RunDirectory,
    module: BionemoLightningModule,
    fingerprint: dict[str, Any],
    stops: StopRequests,
) -> pl.Trainer:
    """Build the trainer with everything that a run writes."""
    step = module.progress.step
    interval = min(config.val_check_interval, config.num_steps)
    metrics = MetricsWriter(
        run, max(1, config.num_steps // 50), start_step=step, texts=PlotTexts("Next-token loss (lower is better)")
    )
    card = ModelCard(
        title=f"Bytes of text, run {config.experiment_name}",
        summary="A small GPT-2 trained to predict the next byte.",
        opening="transformers.GPT2LMHeadModel.from_pretrained('{path}')",
        data=given_data(config),
        settings=optimizer_rows(module.optimizer_config),
        pipeline_tag="text-generation",
    )
    sink = HuggingFaceSink(GPT2Layout(), fingerprint, card=card)
    saver = CheckpointWriter(run, sink, metrics, stops, save_interval=interval, val_check_interval=interval)
    recorder = pl.callbacks.LambdaCallback(on_train_batch_end=partial(record_settings, config, run))
    accelerator = resolve_accelerator(config.accelerator)
    trainer = build_trainer(
        accelerator=accelerator,
        precision=resolve_precision(config.precision, accelerator),
        devices=config.num_gpus,
        num_nodes=1,
        max_steps=min(config.num_steps, config.early_stop_on_step or config.num_steps),
        val_check_interval=interval,
        limit_val_batches=config.limit_val_batches,
        accumulate_grad_batches=1,
        gradient_clip=module.optimizer_config.gradient_clip,
        callbacks=[recorder, metrics, saver, ProgressBar(metrics)],
        loggers=[],
    )
    if step:
        continue_from(trainer, step, accumulate_grad_batches=1)
    return trainer
