# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``example_model {train,finetune,predict}``: the example's three steps."""

import sys

from bionemo.core.command import CommandGroup, command
from bionemo.example_model.config import FinetuneConfig, PredictConfig, TrainConfig


STEPS = {"train": TrainConfig, "finetune": FinetuneConfig, "predict": PredictConfig}

EXAMPLE_FLAGS = ("--num-steps 200", "--num-steps 300 --freeze-parent", "--num-digits 100")

main = CommandGroup(
    prog="example_model",
    commands={
        name: command(
            config_class,
            f"bionemo.example_model.steps:{name}",
            prog=f"example_model {name}",
            example=f"example_model {name} {flags}",
        )
        for (name, config_class), flags in zip(STEPS.items(), EXAMPLE_FLAGS, strict=True)
    },
)


if __name__ == "__main__":
    sys.exit(main())
