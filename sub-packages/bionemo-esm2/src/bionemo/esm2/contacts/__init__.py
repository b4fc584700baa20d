# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Contacts of residues: predicted from attention or from the categorical Jacobian, and read from structures."""
