# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Effects of amino-acid variants: how they are written, and what they make of a protein."""
