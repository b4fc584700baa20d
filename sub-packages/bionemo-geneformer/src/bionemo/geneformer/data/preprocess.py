# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible path of `GeneformerPreprocess`."""

from bionemo.geneformer.data.singlecell.preprocess import GeneformerPreprocess


__all__ = ["GeneformerPreprocess"]
