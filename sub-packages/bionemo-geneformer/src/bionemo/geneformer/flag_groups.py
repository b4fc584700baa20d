# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Flags that Geneformer's commands share: dictionaries, and how counts become cells."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bionemo.core.config import option
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import FlagGroup


if TYPE_CHECKING:
    from bionemo.geneformer.data.open_cells import CountReading

DATA, OUTPUT = "data", "output"


@dataclass(frozen=True, kw_only=True)
class DictionaryFlags(FlagGroup):
    """The dictionaries of genes."""

    token_dictionary: Path | None = option(
        None,
        group=DATA,
        help="Token dictionary: Ensembl gene id to token id, .json, .json.gz or .pkl; a checkpoint brings its own.",
    )
    gene_medians: Path | None = option(
        None,
        group=DATA,
        help="Gene medians: Ensembl gene id to median of its non-zero normalized counts, JSON, to rank counts; a "
        "checkpoint brings its own.",
    )
    gene_names: Path | None = option(
        None, group=DATA, help="Gene names: gene symbol to Ensembl gene id, JSON, for data with symbols."
    )
    gene_mapping: Path | None = option(
        None,
        group=DATA,
        help="Gene mapping: identifier in the data to gene symbol or Ensembl gene id, JSON, for other species or "
        "retired ids.",
    )


@dataclass(frozen=True, kw_only=True)
class CountFlags(FlagGroup):
    """How the counts of a matrix become cells."""

    counts_layer: str | None = option(
        None,
        group=DATA,
        help="Matrix of the counts: a key of layers, X or raw.X; default: the one that holds counts.",
    )
    feature_type: str | None = option(
        None,
        group=DATA,
        help="Feature type of multimodal data (column feature_types of var) that is ranked; default: Gene Expression.",
    )
    gene_column: str | None = option(
        None, group=DATA, help="Column of var that identifies genes; default: the one with most known genes."
    )
    min_coverage: float = option(
        0.3, group=DATA, help="Least fraction of the counts, 0 to 1, that must belong to known genes."
    )
    allow_fractional_counts: bool = option(
        False, group=DATA, help="Accept counts that are not whole numbers, such as corrected ones."
    )

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        if not 0 <= self.min_coverage <= 1:
            raise ConfigError(f"--min-coverage {self.min_coverage}: must lie between 0 and 1.")
        super().__post_init__()

    def reading(
        self,
        *,
        max_length: int | None,
        empty_cells: Literal["error", "skip"] = "error",
        refuse_unknown_genes: bool = False,
    ) -> "CountReading":
        """Return how to read counts, as :func:`bionemo.geneformer.data.open_cells.open_cells` takes it.

        Args:
            max_length: Longest cell in tokens; None: that of the dictionary's model.
            empty_cells: What to do about cells without a known gene.
            refuse_unknown_genes: Whether a gene that the dictionary lacks is an error.
        """
        from bionemo.geneformer.data.open_cells import CountReading

        return CountReading(
            max_length=max_length,
            counts_layer=self.counts_layer,
            feature_type=self.feature_type,
            gene_column=self.gene_column,
            allow_fractions=self.allow_fractional_counts,
            min_coverage=self.min_coverage,
            empty_cells=empty_cells,
            refuse_unknown_genes=refuse_unknown_genes,
        )


@dataclass(frozen=True, kw_only=True)
class MatrixFlags(FlagGroup):
    """Which matrix of a file holds the counts, where ``--layer`` is not a layer of the model."""

    counts_layer: str | None = option(
        None,
        group=DATA,
        aliases=("--layer",),
        help="Matrix of the counts: a key of layers, X or raw.X; default: the one that holds counts.",
    )


@dataclass(frozen=True, kw_only=True)
class CellFlags(FlagGroup):
    """Flags about cells that are taken one by one."""

    id_column: str | None = option(
        None,
        group=DATA,
        help="Column of the cell ids; default: the index of obs, of tokenized cells cell_id or else the row number.",
    )
    label_column: str | None = option(
        None, group=DATA, help="Column of the cells' labels; cells without one are left out."
    )
    max_cells: int | None = option(None, group=DATA, help="Largest number of cells, drawn at random from more.")
    empty_cells: Literal["error", "skip"] = option(
        "error", group=DATA, help="Cells without a known gene: stop with an error, or skip them."
    )
    seq_length: int | None = option(
        None, group=DATA, help="Longest cell in tokens; default: that of the model, 2048 or 4096 (V2)."
    )
    embedding: Literal["cls", "cell"] | None = option(
        None,
        group=OUTPUT,
        help="Cell embedding: cls is the first token's vector, cell the mean over genes; default: cell for V1, "
        "else cls.",
    )
    layer: int = option(-1, group=OUTPUT, help="Layer of the hidden states: 0 the last, -1 the one before.")
    include_unrecognized_vocab_in_dataset: bool = option(
        False,
        group=DATA,
        aliases=("--refuse-unknown-genes",),
        help="Refuse counts of a gene that the dictionary lacks; BioNeMo 2 compatible name, which says the opposite.",
    )
