# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Counts to a folder of tokens: an Arrow dataset with the columns that the original toolkit reads.

Columns: ``input_ids`` (list of int32, the ranked cell), ``length`` (int32), ``cell_id`` (text), and what was chosen of
``obs``. Beside the data lie the vocabulary (``geneformer.vocab``) and ``report.json``.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.files import write_json
from bionemo.core.progress import progress_bar
from bionemo.core.resumable import ResumableDirectory, resumable_directory
from bionemo.geneformer.data.arrow_dataset import (
    STATE_NAME,
    open_shard,
    shard_name,
    with_features,
    write_index,
    write_shard,
)
from bionemo.geneformer.data.cell_ids import distinct_ids
from bionemo.geneformer.data.tokenize_on_read import Coverage, TokenizedOnRead
from bionemo.geneformer.data.tokenized_cells import FINGERPRINT_KEY


if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from tqdm import tqdm


logger = logging.getLogger(__name__)

VOCABULARY_NAME = "geneformer.vocab"
REPORT_NAME = "report.json"
OWN_COLUMNS = ("input_ids", "length", "cell_id")

_CELLS_PER_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class TokenizeOptions:
    """What goes into a token set, beside the cells.

    Attributes:
        obs_columns: Columns of ``obs`` to keep.
        empty_cells: What to do about a cell without known genes.
        filter_pass: Whether cells whose ``obs["filter_pass"]`` is not 1 are left out, where there is that column.
        cells_per_shard: Cells of one data file, the unit of resuming.
    """

    obs_columns: tuple[str, ...] = ()
    empty_cells: Literal["error", "skip"] = "error"
    filter_pass: bool = True
    cells_per_shard: int = 65_536


def write_tokenized(
    cells: TokenizedOnRead, output_path: Path, options: TokenizeOptions, *, plan: Mapping[str, Any] | None = None
) -> Path:
    """Write the tokens of all cells; a killed run is resumed when it is called again.

    Args:
        cells: The counts and their dictionaries.
        output_path: Folder of the dataset; it appears when it is complete.
        options: What to write.
        plan: What else decides on the result, as plain values: the input file and the flags.

    Returns:
        The folder.

    Raises:
        DataError: A value is no count, a cell is empty, an obs column is missing, or too few counts are known.
        DataFileError: The folder exists already or cannot be written.
    """
    obs = cells.source.obs()
    kept_obs = choose_obs(obs, options.obs_columns, cells.source.name)
    ids = distinct_ids(np.asarray(obs.index.astype(str), dtype=str), cells.source.name)
    kept_obs = kept_obs.set_axis(ids, axis=0)
    rows = _rows_to_write(obs, cells, filter_pass=options.filter_pass)
    num_shards = -(-len(rows) // options.cells_per_shard)
    names = [shard_name(number, num_shards) for number in range(num_shards)]
    settings = {
        **(plan or {}),
        "num_cells": len(rows),
        "vocabulary": cells.encoder.tokenizer.fingerprint,
        "max_length": cells.max_length,
        "obs_columns": list(options.obs_columns),
        "empty_cells": options.empty_cells,
        "cells_per_shard": options.cells_per_shard,
    }
    with (
        resumable_directory(output_path, settings) as folder,
        progress_bar(total=len(rows), unit="cell", description="Tokenizing") as bar,
    ):
        for number, name in enumerate(names):
            part = rows[number * options.cells_per_shard : (number + 1) * options.cells_per_shard]
            if folder.has(name):
                bar.update(len(part))
                continue
            _write_part(cells, folder, name, part, kept_obs, empty_cells=options.empty_cells, bar=bar)
        if not folder.has(STATE_NAME):  # written last of what the notes are needed for
            _finish(cells, folder, names, len(obs) - len(rows))
        for name in names:
            _note_path(folder, name).unlink(missing_ok=True)
    return folder.path


def choose_obs(obs: "pd.DataFrame", columns: Sequence[str], source: str) -> "pd.DataFrame":
    """The columns of ``obs`` to keep.

    Raises:
        DataError: One is missing.
        ConfigError: One has a name that the dataset needs itself.
    """
    for column in columns:
        if column not in obs.columns:
            raise DataError(
                f"--obs-columns {column}: {source} has no such column, found {list(map(str, obs.columns))}."
            )
        if column in OWN_COLUMNS:
            raise ConfigError(f"--obs-columns {column}: the dataset has a column of that name of its own. Rename it.")
    return obs[list(columns)]


def _rows_to_write(obs: "pd.DataFrame", cells: TokenizedOnRead, *, filter_pass: bool) -> NDArray[np.int64]:
    if not filter_pass or "filter_pass" not in obs.columns:
        return np.arange(len(cells), dtype=np.int64)
    rows = np.flatnonzero(obs["filter_pass"].to_numpy() == 1)
    logger.info("%s: %d of %d cells have filter_pass 1", cells.source.name, len(rows), len(cells))
    if not len(rows):
        raise DataError(f"{cells.source.name}: no cell has filter_pass 1. Pass --no-filter-pass to take all.")
    return rows


def _write_part(
    cells: TokenizedOnRead,
    folder: ResumableDirectory,
    name: str,
    rows: NDArray[np.int64],
    obs: "pd.DataFrame",
    *,
    empty_cells: Literal["error", "skip"],
    bar: "tqdm[Any]",
) -> None:
    """Write one data file, in memory of a batch, and before it becomes visible what it adds to the report."""
    num_empty, coverage = 0, Coverage(0.0, 0.0)

    def batches() -> Iterator["pa.RecordBatch"]:
        nonlocal num_empty, coverage
        for start in range(0, len(rows), _CELLS_PER_BATCH):
            part = rows[start : start + _CELLS_PER_BATCH]
            counts = cells.read_counts(part)
            found = cells.coverage(counts)
            coverage = Coverage(coverage.known + found.known, coverage.total + found.total)
            tokens, lengths = cells.encoder.encode(counts)
            places = cells.cells_with_genes(empty_cells, lengths=lengths, rows=part)
            num_empty += len(part) - len(places)
            if len(places) < len(part):
                is_kept = np.zeros(len(part), dtype=bool)
                is_kept[places] = True
                tokens, lengths = tokens[np.repeat(is_kept, lengths)], lengths[places]
            yield _record_batch(tokens, lengths, obs.iloc[part[places]]).cast(schema)
            bar.update(len(part))
        write_json(
            _note_path(folder, name), {"known": coverage.known, "total": coverage.total, "num_empty": num_empty}
        )

    schema = _record_batch(np.empty(0, np.int32), np.empty(0, np.int64), obs.iloc[:0]).schema
    schema = with_features(schema.with_metadata({FINGERPRINT_KEY: cells.encoder.tokenizer.fingerprint.encode()}))
    write_shard(folder.part(name), schema, batches())


def _note_path(folder: ResumableDirectory, name: str) -> Path:
    return folder.part(f"{name}.json")


def _record_batch(tokens: NDArray[np.int32], lengths: NDArray[np.int64], obs: "pd.DataFrame") -> "pa.RecordBatch":
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    columns = {
        "input_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens.astype(np.int32, copy=False))),
        "length": pa.array(lengths.astype(np.int32)),
        "cell_id": pa.array([str(name) for name in obs.index], pa.string()),
    }
    for name in obs.columns:
        values = obs[name]
        if values.dtype.kind not in "biuf":  # text, categories, mixtures
            texts = values.astype(object).map(str, na_action="ignore")
            columns[name] = pa.array(texts.where(values.notna(), None), pa.string(), from_pandas=True)
        else:
            columns[name] = pa.array(values, from_pandas=True)
    return pa.RecordBatch.from_pydict(columns)


def _finish(cells: TokenizedOnRead, folder: ResumableDirectory, names: list[str], num_filtered: int) -> None:
    tables = [open_shard(folder.part(name)) for name in names]
    notes = [json.loads(_note_path(folder, name).read_text(encoding="utf-8")) for name in names]
    coverage = Coverage(sum(note["known"] for note in notes), sum(note["total"] for note in notes))
    cells.check_coverage(coverage)
    num_cells = sum(table.num_rows for table in tables)
    if not num_cells:
        raise DataError(f"{cells.source.name}: no cell has counts of known genes.")
    report = {
        "source": cells.source.name,
        "model": cells.encoder.tokenizer.variant.name,
        "num_cells": num_cells,
        "num_tokens": int(sum(table.column("length").to_numpy().sum(dtype=np.int64) for table in tables)),
        "num_empty_cells_left_out": sum(int(note["num_empty"]) for note in notes),
        "num_cells_left_out_by_filter_pass": num_filtered,
        "share_of_counts_known": coverage.share,
        "gene_tables": [
            {
                "id_column": table.id_column,
                "num_genes": len(table.genes),
                "num_known": table.num_known,
                "num_added_to_another_column": table.num_summed,
                "dropped": table.dropped,
            }
            for table in cells.tables
        ],
    }
    cells.encoder.tokenizer.save_vocab(folder.part(VOCABULARY_NAME))
    write_json(folder.part(REPORT_NAME), report)
    write_index(folder.work_dir, tables[0].schema, names)
    logger.info(
        "%s: %d cells, %.1f %% of the counts are of known genes; %s lists the genes left out",
        cells.source.name,
        num_cells,
        100 * coverage.share,
        REPORT_NAME,
    )
