# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Features (columns of ``var`` and ``obs``) that go with the rows of an archive."""
