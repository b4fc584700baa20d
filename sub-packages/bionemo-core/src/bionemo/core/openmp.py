# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How long idle OpenMP threads spin before they sleep.

torch's CPU kernels run on OpenMP threads, which by default spin for milliseconds after each kernel (libgomp: 300,000
iterations; LLVM's and Intel's runtimes: 200 ms). Where other processes share the cores, that time is taken from them
and from ourselves: training beside two busy processes runs at half the speed that it has with a short spin. Sleeping
at once (``OMP_WAIT_POLICY=PASSIVE``) costs a third of the speed on a quiet machine; a short spin costs nearly nothing.
"""

import os


POLICY_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SHORT_SPIN = {
    "GOMP_SPINCOUNT": "1000",  # iterations; libgomp, which torch's Linux packages bring
    "KMP_BLOCKTIME": "1",  # ms; LLVM's libomp (macOS) and Intel's libiomp5
}


def prefer_short_spin() -> None:
    """Set a short spin in this process's environment, unless the user has set a policy by any of the variables.

    The runtime reads its environment once, when torch is imported: call this before.
    """
    if not any(name in os.environ for name in POLICY_VARIABLES):
        os.environ.update(SHORT_SPIN)
