# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Commands of Geneformer."""

from bionemo.core.interrupts import end_imports_on_interrupt


end_imports_on_interrupt(__file__)
