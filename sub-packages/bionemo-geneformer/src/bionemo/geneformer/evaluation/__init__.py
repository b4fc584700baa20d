# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What embeddings are worth: cell types told from them, beside plain baselines on the same cells."""
