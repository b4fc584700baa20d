# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Batches made by the size of their samples: every public name, each from the module that defines it."""

from bionemo.core.data._buckets import Buckets, create_buckets
from bionemo.core.data._cuda_memory import collect_cuda_peak_alloc
from bionemo.core.data.bucket_batch_sampler import BucketBatchSampler
from bionemo.core.data.size_aware_sampler import SizeAwareBatchSampler, size_aware_batching
from bionemo.core.data.token_budget_sampler import Pack, PlanPosition, TokenBudgetBatchSampler


__all__ = (
    "BucketBatchSampler",
    "Buckets",
    "Pack",
    "PlanPosition",
    "SizeAwareBatchSampler",
    "TokenBudgetBatchSampler",
    "collect_cuda_peak_alloc",
    "create_buckets",
    "size_aware_batching",
)
