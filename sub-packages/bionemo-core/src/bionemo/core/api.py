# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The types that model packages implement."""

from bionemo.core.model.config import BionemoModelConfig, BionemoTrainableModelConfig, Model, ModelOutput


__all__ = ("BionemoModelConfig", "BionemoTrainableModelConfig", "Model", "ModelOutput")
