# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""An established place of `GeneformerPreprocess`."""

from bionemo.geneformer.data.singlecell.preprocess import GeneformerPreprocess


__all__ = ["GeneformerPreprocess"]
