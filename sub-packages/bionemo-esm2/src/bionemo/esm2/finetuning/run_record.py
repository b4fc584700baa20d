# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What ``resolved.yaml`` of a fine-tuning run records."""

import dataclasses
import json
from typing import Any

from bionemo.core.config import to_yaml
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.model.model import ESM2Config
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.run_beginning import DerivedSettings, installed_version, plain_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneRecord:
    """See `bionemo.llm.training.run_beginning.RunRecord`.

    Attributes:
        run_id: Carried by every checkpoint of the run.
        asked: Settings of the command.
        derived: What followed from them on this machine.
        optimizer: AdamW and its schedule.
        architecture: Of the encoder.
        head: What is predicted.
    """

    run_id: str
    asked: FinetuneESM2Config
    derived: dict[str, Any]
    optimizer: OptimizerConfig
    architecture: ESM2Config
    head: HeadConfig

    def to_yaml(self) -> str:
        """Return the record as YAML; the first line is the run's id."""
        packages = ("bionemo-esm2", "bionemo-llm", "torch", "lightning", "torchmetrics")
        return f"run_id: {self.run_id}\n" + to_yaml(
            DerivedSettings(
                derived={**self.derived, "head": json.loads(json.dumps(self.head.to_dict()))},
                parallel={},
                optimizer=dataclasses.asdict(self.optimizer),
                architecture=plain_fields(self.architecture),
                versions={name: found for name in packages if (found := installed_version(name))},
            )
        )
