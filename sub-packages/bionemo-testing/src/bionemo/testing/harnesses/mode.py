# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the three runs of a stop-and-go test this is."""

from enum import Enum, auto


class Mode(Enum):
    """STOP and RESUME are the two parts of the interrupted run; CONTINUOUS is the one that they are compared with."""

    STOP = auto()
    RESUME = auto()
    CONTINUOUS = auto()
