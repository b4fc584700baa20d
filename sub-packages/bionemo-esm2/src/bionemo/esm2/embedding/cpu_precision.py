# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``--precision auto`` on a CPU: bfloat16 where the processor has it, the results stay right, and it is faster."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.esm2.embedding.embedder import EmbeddingOptions, ProteinEmbedder, ProteinOutputs
from bionemo.esm2.model.model import ESM2MaskedLM


logger = logging.getLogger(__name__)

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
MIN_COSINE = 0.9999
"""Least cosine of a result in bfloat16 and in float32, of every vector that is asked for."""
MIN_SPEEDUP = 1.05
"""Below it, what was measured may be noise."""
SAMPLE_RESIDUES = 512
MIN_INPUT_BYTES = 50_000
"""Shorter files are done before the check would pay."""


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 matrices: AVX512-BF16 or AMX."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def choose_cpu_precision(module: ESM2MaskedLM, options: EmbeddingOptions, proteins: Sequence[bytes]) -> str:
    """Embed a sample in float32 and in bfloat16, and return the precision to use.

    Args:
        module: The model, on the CPU.
        options: What will be computed.
        proteins: Token ids of the first proteins of the input, as the embedder takes them.

    Returns:
        "bf16-mixed", or "32-true" where the processor has no bfloat16, a result would be wrong, or nothing is gained.
    """
    if not has_bfloat16():
        return FLOAT32
    options = replace(
        options,
        include_logits=options.include_logits or options.pseudo_perplexity,
        pseudo_perplexity=False,
        include_input_ids=False,
    )
    exact, exact_seconds = _embed(module, replace(options, precision=FLOAT32), proteins)
    rounded, seconds = _embed(module, replace(options, precision=BFLOAT16), proteins)
    cosine = lowest_cosine(exact, rounded)
    chosen = BFLOAT16 if cosine >= MIN_COSINE and exact_seconds >= MIN_SPEEDUP * seconds else FLOAT32
    logger.info(
        "--precision auto: %s on this CPU; bfloat16 takes %.2f of the time, lowest cosine to float32 %.6f",
        chosen, seconds / exact_seconds, cosine,
    )  # fmt: skip
    return chosen


def lowest_cosine(one: ProteinOutputs, other: ProteinOutputs) -> float:
    """Return the lowest cosine between the vectors of two results; 1 where there are none.

    >>> pair = [ProteinOutputs(np.array([0]), {"mean": np.array([[3.0, 4.0]]) * factor}) for factor in (1, 2)]
    >>> lowest_cosine(*pair)
    1.0
    """
    found = [1.0]
    for ours, theirs in ((one.embeddings, other.embeddings), (one.residues, other.residues)):
        found += [_cosine(values, theirs[name]) for name, values in ours.items()]
    return min(found)


def _cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    products = (one * other).sum(axis=1)
    cosines = products / np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), 1e-30)
    return float(cosines.min())


def _embed(module: ESM2MaskedLM, options: EmbeddingOptions, proteins: Sequence[bytes]) -> tuple[ProteinOutputs, float]:
    """Embed twice, and return the result and the CPU-seconds of the faster pass: the first one prepares kernels."""
    embedder = ProteinEmbedder(module, options)
    seconds = []
    for _ in range(2):
        start = time.process_time()
        outputs = embedder.embed(proteins)
        seconds.append(time.process_time() - start)
    return outputs, min(seconds)
