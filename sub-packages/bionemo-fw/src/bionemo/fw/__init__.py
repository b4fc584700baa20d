# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Everything of BioNeMo at one version: a meta package whose content is its requirements."""
