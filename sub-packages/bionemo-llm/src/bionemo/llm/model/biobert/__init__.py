# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The BioBERT family: one encoder model for proteins and cells."""

import warnings


# Megatron-core reports at import and while it builds layers which optional accelerators are missing and which of its
# own arguments are old. None of it is for our users, who cannot act on it.
warnings.filterwarnings("ignore", category=Warning, module=r"megatron\.core\..*")
