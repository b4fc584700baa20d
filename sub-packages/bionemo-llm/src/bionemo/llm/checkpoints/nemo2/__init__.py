# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of NeMo 2 as BioNeMo Framework 2 wrote them, read and written without NeMo and Megatron-core."""
