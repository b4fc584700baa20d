# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What the head of a frozen encoder sees, computed once for all epochs and folds and kept in the run's folder."""

import logging
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.errors import BionemoError
from bionemo.core.files import atomic_file
from bionemo.core.progress import progress_bar
from bionemo.core.ranks import process_rank
from bionemo.esm2.embedding.embedder import EmbeddingOptions, ProteinEmbedder
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.finetuning.labeled_proteins import LabeledProteins
from bionemo.esm2.model.model import ESM2MaskedLM, ESM2Model
from bionemo.llm.model.biobert.inference import CPU_TOKENS_PER_BATCH, GPU_TOKENS_PER_BATCH


logger = logging.getLogger(__name__)

TOKENS_PER_PART = 2**17
"""Tokens whose features are in memory at once."""
WAIT_S = 24 * 3600.0


def features_path(data_dir: Path, proteins: LabeledProteins, head: HeadConfig, weights: str, precision: str) -> Path:
    """Return where the features of these proteins lie: the name holds a checksum of all that they depend on."""
    kind = (head.level, head.kind, weights, precision, proteins.tokens.tobytes(), proteins.offsets.tobytes())
    return data_dir / f"features-{zlib.crc32(repr(kind).encode()):08x}.npy"


def cached_features(
    path: Path, model: ESM2Model, proteins: LabeledProteins, head: HeadConfig, *, device: torch.device, precision: str
) -> NDArray[np.float32]:
    """Open the features of proteins, and compute them first where they are not there.

    The first rank computes; others wait for its file.

    Args:
        path: See `features_path`.
        model: The encoder.
        proteins: P proteins, R residues.
        head: Says what it sees.
        device: Where to compute.
        precision: "32-true", "bf16-mixed" or "16-mixed".

    Returns:
        [R, H] of residues or [P, H] of proteins, float32, a memory map.

    Raises:
        BionemoError: The first rank has not written the file in time.
    """
    if process_rank() != 0:
        deadline = time.monotonic() + WAIT_S
        while not path.exists():
            if time.monotonic() > deadline:
                raise BionemoError(f"{path}: the first rank has not written it.")
            time.sleep(0.5)
    elif not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        compute_features(path, model, proteins, head, device=device, precision=precision)
    found: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return found


def compute_features(
    path: Path, model: ESM2Model, proteins: LabeledProteins, head: HeadConfig, *, device: torch.device, precision: str
) -> None:
    """Compute the features of proteins part by part into a file that appears when it is complete."""
    is_residue = head.level == "residue"
    embedder = ProteinEmbedder(
        ESM2MaskedLM(model).to(device),
        EmbeddingOptions(
            kinds=() if is_residue else ("mean",) if head.kind == "mlp" else ("cls",),
            include_hiddens=is_residue,
            max_tokens=CPU_TOKENS_PER_BATCH if device.type == "cpu" else GPU_TOKENS_PER_BATCH,
            precision=precision,
        ),
    )
    num_rows = len(proteins.tokens) if is_residue else len(proteins)
    header = np.lib.format.header_data_from_array_1_0(np.empty((0, 0), np.float32))
    header["shape"] = (num_rows, model.bert_config.hidden_size)
    parts = np.searchsorted(
        proteins.offsets, np.arange(0, len(proteins.tokens) + TOKENS_PER_PART, TOKENS_PER_PART), side="left"
    ).clip(max=len(proteins))
    logger.info("computing the frozen encoder's features of %d proteins once", len(proteins))
    with (
        atomic_file(path) as file,
        progress_bar(total=len(proteins), unit="protein", description="Embedding") as bar,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for first, last in zip(parts[:-1].tolist(), parts[1:].tolist(), strict=True):
            outputs = embedder.embed([proteins.residues(number) for number in range(first, last)])
            values = outputs.residues["hidden_states"] if is_residue else next(iter(outputs.embeddings.values()))
            file.write(np.ascontiguousarray(values, np.float32).tobytes())
            bar.update(last - first)
