# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs of a fine-tuned model for any proteins, packed by length, and what they mean for each target.

Letters: P proteins, R residues of all of them, O outputs of the head, X rows: P or R, C classes of a target.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.esm2.data.tokenizer import PAD_ID, with_specials
from bionemo.esm2.embedding.embedder import cut_packs
from bionemo.esm2.finetuning.head_config import HeadConfig, Target
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.model.biobert.inference import CPU_TOKENS_PER_BATCH, GPU_TOKENS_PER_BATCH, check_precision, inference


class HeadPredictor:
    """A fine-tuned model with what it needs to label proteins.

    Args:
        module: The model, on the device where it shall run.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        max_tokens: Tokens of a packed batch; None: 4,096 on a CPU, 32,768 on a GPU.
    """

    def __init__(self, module: ESM2WithHead, *, precision: str = "32-true", max_tokens: int | None = None):
        self.module = module.eval()
        self.device = next(module.parameters()).device
        check_precision(precision)
        self.precision = precision
        self.max_tokens = max_tokens or (CPU_TOKENS_PER_BATCH if self.device.type == "cpu" else GPU_TOKENS_PER_BATCH)

    def outputs(self, proteins: Sequence[bytes]) -> NDArray[np.float32]:
        """Label proteins.

        Args:
            proteins: P times the token ids of a protein, one byte a residue, without special tokens, none empty.

        Returns:
            [P, O] of sequences or [R, O] of residues, in the order given: logits, standardized values.
        """
        head = self.module.head_config
        lengths = np.fromiter(map(len, proteins), np.int64, count=len(proteins))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        is_residue = head.level == "residue"
        found = np.empty((int(offsets[-1]) if is_residue else len(proteins), head.num_outputs), np.float32)
        order = np.argsort(-lengths, kind="stable")
        for places in cut_packs(order, lengths[order] + 2, self.max_tokens):
            tokens = [with_specials(proteins[place]) for place in places]
            outputs = self._run(np.frombuffer(b"".join(tokens), np.uint8), lengths[places] + 2)
            if not is_residue:
                found[places] = outputs
                continue
            start = 0
            for place in places.tolist():
                length = int(lengths[place])
                found[offsets[place] : offsets[place + 1]] = outputs[start : start + length]
                start += length
        return found

    def _run(self, tokens: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
        batch: dict[str, Any] = dict(
            build_packed_batch(
                tokens,
                sizes,
                np.arange(len(sizes)),
                max_tokens=len(tokens),
                pad_token_id=PAD_ID,
                sequences_multiple=1,
            )
        )
        batch = {k: v.to(self.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        with inference(self.device, self.precision):
            outputs: NDArray[np.float32] = self.module.forward_packed(batch).float().cpu().numpy()
        return outputs


class TargetPrediction(NamedTuple):
    """What a model says about one target."""

    target: Target
    values: NDArray[Any]
    """[X] float32 of a regression; [X] int64 class; [X, C] bool of a multi-label target."""
    probabilities: NDArray[np.float32] | None
    """[X, C]; None for a regression."""


def decode(outputs_XO: NDArray[np.float32], head: HeadConfig) -> list[TargetPrediction]:
    """Turn outputs into values, classes and probabilities of each target."""
    found, first = [], 0
    for target in head.targets:
        outputs = outputs_XO[:, first : first + target.num_outputs].astype(np.float64)
        first += target.num_outputs
        if target.kind == "regression":
            values = (outputs[:, 0] * target.std + target.mean).astype(np.float32)
            found.append(TargetPrediction(target, values, None))
        elif target.kind == "multilabel":
            shares = 1.0 / (1.0 + np.exp(-outputs))
            found.append(TargetPrediction(target, shares > 0.5, shares.astype(np.float32)))
        else:
            weights = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            shares = weights / weights.sum(axis=1, keepdims=True)
            found.append(TargetPrediction(target, outputs.argmax(axis=1), shares.astype(np.float32)))
    return found
