# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``perturb_geneformer``."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from bionemo.core.config import given_fields, option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import SharedFlags
from bionemo.geneformer.flag_groups import CellFlags, CountFlags, DictionaryFlags
from bionemo.geneformer.perturbation.settings import STATES, PerturbationSettings, check_settings, flag
from bionemo.llm.flag_groups import CompileFlags, ComputeFlags, DeviceFlags, ModelSourceFlags


DATA, STATISTICS, COMPUTE = "data", "statistics", "compute"
OF_STATISTICS = frozenset(
    {"results_path", "shifts_path", "null_shifts_path", "statistics", "max_fdr", "min_detections", "seed"}
)
"""Fields that have a meaning with --shifts-path."""


@dataclass(frozen=True, kw_only=True)
class PerturbGeneformerConfig(PerturbationSettings, DictionaryFlags, CountFlags, ComputeFlags, CompileFlags):
    """Delete, overexpress, inhibit or activate genes of cells, and see how far each cell's embedding moves."""

    checkpoint_path: Path | None = option_like(ModelSourceFlags, "checkpoint_path", None)
    data_path: Path | None = option(
        None,
        group=DATA,
        help="Cells, required: folder of tokenize_geneformer, .parquet, or counts (SCDL archive, .h5ad, zarr, "
        "10x .h5, mtx).",
    )
    results_path: Path = option_like(SharedFlags, "results_path", group=DATA)
    id_column: str | None = option_like(CellFlags, "id_column", None)
    statistics: Literal["auto", "none", "goal_state_shift", "vs_null", "mixture_model", "aggregate_data"] = option(
        "auto", group=STATISTICS, help="What to compute of the shifts; auto: what fits how they were measured."
    )
    shifts_path: Path | None = option(
        None, group=STATISTICS, help="Results of an earlier call: compute statistics of these and perturb nothing."
    )
    null_shifts_path: Path | None = option(
        None, group=STATISTICS, help="Results for null cells, against which those of --shifts-path are tested."
    )
    max_fdr: float = option(0.05, group=STATISTICS, help="False discovery rate below which a gene is significant.")
    min_detections: int = option(10, group=STATISTICS, help="Genes perturbed in fewer cells are flagged.")

    precision: Literal["auto", "fp32", "bf16-mixed", "16-mixed"] = option_like(DeviceFlags, "precision", "auto")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        for name in ("num_gpus", "num_nodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{flag(name)} {getattr(self, name)}: must be at least 1.")
        if not 0 < self.max_fdr <= 1:
            raise ConfigError(f"--max-fdr {self.max_fdr}: must lie between 0 and 1.")
        if self.min_detections < 0:
            raise ConfigError(f"--min-detections {self.min_detections}: must not be negative.")


OF_PERTURBATION = tuple(field.name for field in fields(PerturbGeneformerConfig) if field.name not in OF_STATISTICS)
PerturbGeneformerConfig.exclusive = (
    *PerturbationSettings.exclusive,
    *((one, OF_PERTURBATION) for one in ("shifts_path", "null_shifts_path", "statistics=vs_null")),
    ("shifts_path", ("statistics=none",)),
    ("statistics=mixture_model", ("genes", *STATES)),
    ("statistics=aggregate_data", STATES),
)


def check_flags(config: PerturbGeneformerConfig) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: The message names the flags.
    """
    if config.shifts_path is not None:
        _check_statistics_only(config)
        return
    missing = [flag(name) for name in ("checkpoint_path", "data_path") if getattr(config, name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)}: required to perturb cells; or give --shifts-path.")
    if config.null_shifts_path is not None or config.statistics == "vs_null":
        raise ConfigError(
            "--statistics vs_null: compares two finished results. Perturb test and null cells first, then give "
            "--shifts-path and --null-shifts-path."
        )
    check_settings(config)
    _check_mode(config)


def _check_statistics_only(config: PerturbGeneformerConfig) -> None:
    useless = sorted(given_fields(config) - OF_STATISTICS)
    if useless:
        raise ConfigError(f"{flag(useless[0])}: has no effect with --shifts-path, which perturbs nothing.")
    if config.statistics == "none":
        raise ConfigError("--statistics none: leaves nothing to do with --shifts-path.")
    if (config.statistics == "vs_null") != (config.null_shifts_path is not None) and config.statistics != "auto":
        raise ConfigError("--statistics vs_null and --null-shifts-path: belong together.")


def _check_mode(config: PerturbGeneformerConfig) -> None:
    mode = config.statistics
    if mode == "goal_state_shift" and not config.has_states:
        raise ConfigError("--statistics goal_state_shift: needs --state-key, --start-state and --goal-state.")
    if mode == "mixture_model" and (config.has_states or config.is_group):
        raise ConfigError("--statistics mixture_model: needs --genes all and no states.")
    if mode == "aggregate_data" and (config.has_states or not config.is_group):
        raise ConfigError("--statistics aggregate_data: needs a group of --genes and no states.")
