# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``score_variants_esm2``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import SharedFlags
from bionemo.esm2.embedding.config import InferESM2Config
from bionemo.llm.flag_groups import ComputeFlags, ModelSourceFlags


DATA, OUTPUT, COMPUTE, SCORE, METRICS = "data", "output", "compute", "score", "metrics"
COLUMNS = ("variant_column", "protein_column", "chain_column", "measured_column")


@dataclass(frozen=True, kw_only=True)
class ScoreVariantsESM2Config(ModelSourceFlags, ComputeFlags):
    """Score amino-acid variants by a masked language model: a higher score is a fitter protein."""

    exclusive: ClassVar[Exclusive] = (
        ("scan", ("variants_path", *COLUMNS)),
        ("multi_mutants=joint", ("protocol=wild-type-marginal", "protocol=pseudo-perplexity")),
    )

    data_path: Path = option_like(InferESM2Config, "data_path")
    sequence_column: str | None = option_like(InferESM2Config, "sequence_column", None)
    id_column: str | None = option_like(InferESM2Config, "id_column", None)
    variants_path: Path | None = option(
        None,
        group=DATA,
        help="Variants: .csv, .tsv or .parquet, text also compressed; P20L, A1G:C3D, p.Pro20Leu, p.Lys23_Leu24insArg, "
        "p.Pro20del.",
    )
    scan: bool = option(
        False,
        group=DATA,
        help="Score all single substitutions by the 20 standard residues; instead of --variants-path.",
    )
    variant_column: str | None = option(
        None, group=DATA, help="Column of the variants; default: mutant, mutation or variant."
    )
    protein_column: str | None = option(
        None,
        group=DATA,
        help="Column with the id of each variant's wild type; default: protein or protein_id, not needed with one "
        "wild type.",
    )
    chain_column: str | None = option(
        None,
        group=DATA,
        help="Column with the id of the chain in whose numbering a variant of a complex is written; default: chain.",
    )
    complex: tuple[str, ...] = option(
        (),
        group=DATA,
        help="Complexes: ids of proteins joined by ':' (barnase:barstar), whose chains a linker of glycines joins to "
        "one sequence; scored instead of the single proteins.",
    )
    linker_length: int = option(25, group=DATA, help="Linker: number of glycines between two chains of a complex.")
    offset: int | None = option(
        None,
        group=DATA,
        help="Offset of the numbering: added to the positions of variants to count from 1; default: inferred for each "
        "protein from the wild-type letters (0 for --scan).",
    )
    on_bad_row: Literal["error", "skip"] = option(
        "error", group=DATA, help="Row that cannot be used: stop, or list it with its reason in rejected.csv."
    )
    results_path: Path = option_like(SharedFlags, "results_path")

    protocol: Literal["masked-marginal", "wild-type-marginal", "pseudo-perplexity"] = option(
        "masked-marginal",
        group=SCORE,
        help="Scoring protocol: log odds of mutant and wild type at the position, masked (masked-marginal) or not "
        "(wild-type-marginal), or difference of pseudo-perplexities, which masks every residue of every variant; "
        "insertions and deletions always take the last.",
    )
    multi_mutants: Literal["additive", "joint"] = option(
        "additive",
        group=SCORE,
        help="Masked marginals of several substitutions: each position masked in turn and summed, or all masked "
        "together.",
    )
    window: int = option(
        1024,
        group=SCORE,
        help="Window in tokens over longer proteins, around each masked position; 0: whole proteins.",
    )

    measured_column: str | None = option(
        None,
        group=METRICS,
        help="Column of measured values, larger is fitter: Spearman, NDCG and AUC with bootstrap intervals.",
    )
    auc_threshold: float | None = option(
        None, group=METRICS, help="AUC: variants measured above this count as fit; default: the protein's median."
    )
    num_bootstraps: int = option(
        1000, group=METRICS, help="Bootstrap: number of resamples for the 95 % intervals; 0: none."
    )
    seed: int = option_like(SharedFlags, "seed", 42)

    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=COMPUTE)

    def __post_init__(self) -> None:
        """Check each value by itself, and what is scored.

        Raises:
            ConfigError: A number is out of range, or both or neither of variants and scan are asked for; the message
                names the flag.
        """
        super().__post_init__()
        least = {"tokens_per_batch": 1, "num_gpus": 1, "num_nodes": 1, "linker_length": 0, "num_bootstraps": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least {minimum}.")
        if self.window and self.window < 16:
            raise ConfigError(f"--window {self.window}: must be 0 (whole proteins) or at least 16 tokens.")
        if self.scan == (self.variants_path is not None):
            raise ConfigError("give either --variants-path FILE or --scan.")
        if self.scan:
            for name in COLUMNS:
                if getattr(self, name) is not None:
                    raise ConfigError(
                        f"--{name.replace('_', '-')} names a column of --variants-path; --scan has none."
                    )
        if self.multi_mutants == "joint" and self.protocol != "masked-marginal":
            raise ConfigError(
                f"--multi-mutants joint belongs to --protocol masked-marginal, found {self.protocol}. Leave one out."
            )
