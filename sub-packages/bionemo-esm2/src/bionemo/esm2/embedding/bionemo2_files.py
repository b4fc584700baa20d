# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The ``.pt`` files of BioNeMo Framework 2's ``infer_esm2``: padded tensors by name, for scripts that read them.

Letters: B proteins of a file, S tokens of its longest protein with special ones, H hidden, V 128, the padded
vocabulary. ``token_logits`` is [S, B, V], ``hidden_states`` [B, S, H], ``embeddings`` [B, H], ``input_ids`` [B, S].
What those files lack is added: ``ids`` and ``rows`` of the proteins, in input order. Read them with
``torch.load(path, weights_only=True)``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import Tensor

from bionemo.esm2.data.tokenizer import PAD_ID
from bionemo.esm2.model.hf_layout import VOCAB_SIZE


if TYPE_CHECKING:
    from bionemo.esm2.embedding.embedder import ProteinOutputs
    from bionemo.esm2.embedding.protein_file import Protein


PREDICTIONS_NAME = "predictions__rank_0__dp_rank_0.pt"
PADDED_VOCAB = 128
"""Size of the vocabulary in BioNeMo Framework 2's logits; columns from 33 on belong to no token."""


def batch_name(number: int) -> str:
    """Return the name of the file of one partition, as ``--prediction-interval batch`` wants it.

    >>> batch_name(3)
    'predictions__rank_0__dp_rank_0__batch_3.pt'
    """
    return PREDICTIONS_NAME.replace(".pt", f"__batch_{number}.pt")


def write_predictions(outputs: "ProteinOutputs", proteins: Sequence["Protein"], number: int, folder: Path) -> None:
    """Write what was computed of a partition.

    Args:
        outputs: Of all tokens, special ones included.
        proteins: B of them.
        number: Of the partition.
        folder: Where to.
    """
    lengths = [len(protein.residues) + 2 for protein in proteins]
    found: dict[str, Any] = {
        "ids": [protein.id for protein in proteins],
        "rows": torch.tensor([protein.row for protein in proteins]),
        "batch_idx": number,
    }
    for name, values in outputs.residues.items():
        parts = torch.from_numpy(values).split(lengths)
        if name == "token_logits":
            padded = torch.full((max(lengths), len(parts), PADDED_VOCAB), torch.finfo(torch.float32).min)
            for place, part in enumerate(parts):
                padded[: len(part), place, :VOCAB_SIZE] = part
                padded[len(part) :, place] = 0.0
            found[name] = padded
        else:
            is_ids = name == "input_ids"
            found[name] = _padded([part.long() if is_ids else part for part in parts], PAD_ID if is_ids else 0.0)
    for name, values_BH in outputs.embeddings.items():
        found["embeddings" if name == "mean" else name] = torch.from_numpy(values_BH)
    if outputs.pseudo_perplexity is not None:
        found["pseudo_perplexity"] = torch.from_numpy(outputs.pseudo_perplexity)
    torch.save(found, folder / PREDICTIONS_NAME)


def join_predictions(paths: Sequence[Path], file: IO[bytes]) -> None:
    """Join files of partitions to one, padded to the longest protein; all of it is in memory at once."""
    parts = [torch.load(path, weights_only=True) for path in paths]
    joined: dict[str, Any] = {"ids": [name for part in parts for name in part["ids"]]}
    for name in parts[0].keys() - {"ids", "batch_idx"}:
        tensors = [part[name] for part in parts]
        if name == "token_logits":  # [S, B, V]
            joined[name] = _padded([column for tensor in tensors for column in tensor.unbind(1)], 0.0).transpose(0, 1)
            joined[name] = joined[name].contiguous()
        elif name in ("hidden_states", "input_ids"):
            joined[name] = _padded(
                [row for tensor in tensors for row in tensor], PAD_ID if name == "input_ids" else 0.0
            )
        else:
            joined[name] = torch.cat(tensors)
    torch.save({name: joined[name] for name in sorted(joined)}, file)


def _padded(parts: Sequence[Tensor], value: float) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=value)
