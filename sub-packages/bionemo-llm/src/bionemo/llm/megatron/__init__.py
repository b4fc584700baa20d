# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The megatron engine: NeMo's strategy over Megatron-core. The only place that imports NeMo.

It needs the extra ``bionemo-llm[nemo]``.
"""
