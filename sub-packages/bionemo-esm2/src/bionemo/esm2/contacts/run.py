# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``contacts_esm2``.

The folder holds for each protein, numbered by its row in the input, ``00000-ID.npz`` (``contacts`` [S, S] float32,
``id``, ``sequence``, ``method``; of a structure also ``structure_contacts`` [S, S] and ``resolved`` [S]) and
``00000-ID.png``, and ``precision.csv`` where structures are given.
"""

import csv
import io
import logging
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from bionemo.core.config import to_yaml
from bionemo.core.errors import MissingFileError
from bionemo.core.files import write_text
from bionemo.core.partitioned_output import partitioned_output
from bionemo.esm2.api import load_esm2
from bionemo.esm2.contacts.config import ContactsESM2Config
from bionemo.esm2.contacts.picture import draw_contacts
from bionemo.esm2.contacts.precision import contact_precision
from bionemo.esm2.contacts.predictor import ContactPredictor
from bionemo.esm2.contacts.structure import STRUCTURE_SUFFIXES, StructureContacts, structure_contacts
from bionemo.esm2.data.fasta_policy import REJECTED_NAME, FastaSummary, RejectedFile
from bionemo.esm2.embedding.protein_file import Protein, ProteinFile
from bionemo.esm2.run_fingerprint import run_fingerprint
from bionemo.esm2.variants.wild_types import decode_residues
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

CONFIG_NAME, PRECISION_NAME = "config.yaml", "precision.csv"
MAP_NAME, PICTURE_NAME = "contacts.npz", "contacts.png"
PRECISION_COLUMNS = ("row", "id", "method", "range", "top", "num_pairs", "precision")
WITHOUT_INFLUENCE = ("accelerator", "num_gpus", "num_nodes", "results_path", "data_path", "structure_path")
"""Settings that do not change the partitions."""


def predict_contacts(config: ContactsESM2Config) -> Path:
    """Do what the command says.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    accelerator = resolve_accelerator(config.accelerator)
    source = ProteinFile(
        path=config.data_path,
        sequence_column=config.sequence_column,
        id_column=config.id_column,
        on_bad_record=config.on_bad_record,
    )
    files = source.files()
    module = load_esm2(config.checkpoint_path)
    precision = resolve_precision(config.precision, accelerator)
    ranks = start_ranks(accelerator, config.num_gpus, config.num_nodes)
    module = module.to(ranks.device)
    predictor = ContactPredictor(module, config.method, precision=precision, max_tokens=config.tokens_per_batch)
    logger.info("torch %s on %s, %d rank(s), %s, %s",
        torch.__version__, ranks.device, ranks.world_size, precision, predictor.method)  # fmt: skip
    summary = FastaSummary()
    structures = structure_files(config.structure_path)
    fingerprint = run_fingerprint(
        config,
        [*files, *structures],
        without=WITHOUT_INFLUENCE,
        tokens_per_batch=predictor.max_tokens,
        precision=precision,
    )
    with partitioned_output(config.results_path, fingerprint, ranks) as output:
        rejected = RejectedFile(output.folder.part(REJECTED_NAME)) if output.is_main else None
        proteins = list(source.proteins(summary, rejected))
        output.compute(
            proteins,
            partial(write_protein, predictor, config),
            size=lambda protein: len(protein.residues),
            unit="residue",
            description="Contacts",
        )
        if rejected is not None:
            rejected.close()
            names = [file_name(protein) for protein in proteins]
            if config.structure_path is not None:
                output.join(PRECISION_NAME, join_tables)
            output.keep(MAP_NAME, lambda number, _: f"{names[number]}.npz")
            output.keep(PICTURE_NAME, lambda number, _: f"{names[number]}.png")
            write_text(output.folder.part(CONFIG_NAME), to_yaml(config))
            output.remove_partitions()
    return config.results_path


def write_protein(predictor: ContactPredictor, config: ContactsESM2Config, protein: Protein, folder: Path) -> None:
    """Predict one protein's contacts and write its files into a folder."""
    sequence = decode_residues(protein.residues)
    structure = structure_of(config, protein, sequence)
    predicted_SS = predictor.predict(protein.residues)
    arrays: dict[str, Any] = {
        "contacts": predicted_SS,
        "id": np.array(protein.id),
        "sequence": np.array(sequence),
        "method": np.array(predictor.method),
    }
    if structure is not None:
        arrays |= {"structure_contacts": structure.contacts_SS, "resolved": structure.is_resolved_S}
        (folder / PRECISION_NAME).write_text(precision_table(predictor.method, protein, predicted_SS, structure))
    np.savez(folder / MAP_NAME, **arrays)
    title = f"{protein.id}, {predictor.method}"
    picture = draw_contacts(predicted_SS, title, None if structure is None else structure.contacts_SS)
    (folder / PICTURE_NAME).write_bytes(picture)


def structure_files(path: Path | None) -> list[Path]:
    """Return the structures that may be read.

    Raises:
        MissingFileError: There is no such file or folder.
    """
    if path is None:
        return []
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.name.removesuffix(".gz").endswith(STRUCTURE_SUFFIXES))
    if not path.is_file():
        raise MissingFileError(f"--structure-path {path}: there is no such file or folder. Check the path.")
    return [path]


def structure_of(config: ContactsESM2Config, protein: Protein, sequence: str) -> StructureContacts | None:
    """Read the contacts of a protein's structure; None where a folder has none for it."""
    path = config.structure_path
    if path is not None and path.is_dir():
        names = [f"{protein.id}{suffix}{gz}" for suffix in STRUCTURE_SUFFIXES for gz in ("", ".gz")]
        path = next((path / name for name in names if (path / name).is_file()), None)
        if path is None:
            logger.warning("%s: no structure %s.pdb or .cif in %s", protein.id, protein.id, config.structure_path)
    return None if path is None else structure_contacts(path, sequence, config.structure_chain)


def precision_table(method: str, protein: Protein, predicted_SS: Any, structure: StructureContacts) -> str:
    """Return one protein's lines of ``precision.csv``, with the header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PRECISION_COLUMNS)
    for found in contact_precision(predicted_SS, structure.contacts_SS, structure.is_resolved_S):
        value = "" if math.isnan(found.precision) else f"{found.precision:.4f}"
        writer.writerow((protein.row, protein.id, method, found.range, found.top, found.num_pairs, value))
    return text.getvalue()


def join_tables(paths: Sequence[Path], file: IO[bytes]) -> None:
    """Join the tables of all proteins under one header."""
    file.write((",".join(PRECISION_COLUMNS) + "\n").encode())
    for path in paths:
        if path.exists():  # else the protein has no structure
            file.write(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def file_name(protein: Protein) -> str:
    """Name of a protein's files without suffix."""
    return f"{protein.row:05d}-" + re.sub(r"[^\w.-]", "_", protein.id)[:80]
