# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``contacts_esm2``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import SharedFlags
from bionemo.esm2.data.fasta_flags import FastaFlags
from bionemo.esm2.embedding.config import InferESM2Config
from bionemo.llm.flag_groups import ComputeFlags, ModelSourceFlags


DATA, COMPUTE, MODEL = "data", "compute", "model"


@dataclass(frozen=True, kw_only=True)
class ContactsESM2Config(ModelSourceFlags, ComputeFlags):
    """Predict contacts between the residues of proteins: a map and a picture of each."""

    data_path: Path = option_like(InferESM2Config, "data_path")
    sequence_column: str | None = option_like(InferESM2Config, "sequence_column", None)
    id_column: str | None = option_like(InferESM2Config, "id_column", None)
    on_bad_record: Literal["error", "skip", "fix"] = option_like(FastaFlags, "on_bad_record", "error")
    structure_path: Path | None = option(
        None,
        group=DATA,
        help="Structures to compare with: a PDB or mmCIF file for one protein, or a folder with ID.pdb, ID.cif, also "
        ".gz.",
    )
    structure_chain: str | None = option(
        None, group=DATA, help="Chain of the structures; default: the first whose residues fit the protein."
    )
    results_path: Path = option_like(SharedFlags, "results_path")
    method: Literal["auto", "attention", "jacobian"] = option(
        "auto",
        group=MODEL,
        help="attention: contact probabilities by the model's regression over attention maps; jacobian: couplings by "
        "the categorical Jacobian, 20 forward passes for each residue and 1.6 kB for each pair; auto: attention if "
        "the model has a trained contact head.",
    )
    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=COMPUTE)

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range, or a chain is named without a structure; the message names the flag.
        """
        super().__post_init__()
        for name in ("tokens_per_batch", "num_gpus", "num_nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1.")
        if self.structure_chain is not None and self.structure_path is None:
            raise ConfigError("--structure-chain names a chain of --structure-path. Give that too.")
