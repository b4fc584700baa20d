# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``example_model {train,finetune,predict}``: the example's three steps."""

import sys

from bionemo.core.command import CommandGroup, command
from bionemo.example_model.config import FinetuneConfig, PredictConfig, TrainConfig


STEPS = {"train": TrainConfig, "finetune": FinetuneConfig, "predict": PredictConfig}

main = CommandGroup(
    prog="example_model",
    commands={
        name: command(config_class, f"bionemo.example_model.steps:{name}", prog=f"example_model {name}")
        for name, config_class in STEPS.items()
    },
)


if __name__ == "__main__":
    sys.exit(main())
