# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The dictionaries that tokenization needs: tokens, medians, gene symbols and gene mappings.

All are JSON objects, ``.json`` or ``.json.gz``. The pickles of the original releases are read too, and
`convert_dictionary` turns them into JSON once and for all.
"""

import gzip
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bionemo.core.errors import ChecksumError, DataError, FormatError, MissingFileError
from bionemo.core.files import write_bytes, write_text
from bionemo.core.restricted_pickle import read_pickle
from bionemo.core.unpacking import DecompressionLimitError, gunzip
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import Variant


PICKLE_SUFFIXES = (".pkl", ".pickle")


class Dictionaries(NamedTuple):
    """What turns counts into the tokens of one model."""

    tokenizer: GeneTokenizer
    medians: dict[str, float]
    """Ensembl id to the median of the gene's non-zero normalized counts."""
    gene_mapping: dict[str, str]
    """Identifier in the data to identifier in the vocabulary: other species, retired ids."""


def load_dictionaries(
    token_dictionary: str | os.PathLike[str],
    gene_medians: str | os.PathLike[str],
    *,
    gene_names: str | os.PathLike[str] | None = None,
    gene_mapping: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
) -> Dictionaries:
    """Read the dictionaries of a model and check that they belong together.

    Args:
        token_dictionary: Token to id, or a vocabulary that `GeneTokenizer.save_vocab` wrote.
        gene_medians: Ensembl id to median.
        gene_names: Gene symbol to Ensembl id; added to those of a saved vocabulary.
        gene_mapping: Identifier in the data to symbol or Ensembl id.
        variant: What the vocabulary must be; None: whatever it is.

    Raises:
        MissingFileError: A file does not exist.
        DataError: A file holds something else, or they are of different versions.
    """
    tokenizer = read_tokenizer(token_dictionary, gene_names=gene_names)
    if variant is not None and tokenizer.variant is not variant:
        raise DataError(
            f"{os.fspath(token_dictionary)}: has the special tokens of {tokenizer.variant.name}, but --model "
            f"{variant.name} was asked for. Give the dictionary of that model."
        )
    medians = read_gene_medians(gene_medians)
    genes = [token for token in tokenizer.vocab if token not in tokenizer.variant.special_tokens]
    num_known = sum(gene in medians for gene in genes)
    if 2 * num_known < len(genes):
        raise DataError(
            f"{os.fspath(gene_medians)}: has medians of {num_known} of the {len(genes)} genes in "
            f"{os.fspath(token_dictionary)}. The two files are of different versions."
        )
    mapping = {} if gene_mapping is None else read_text_dictionary(gene_mapping)
    return Dictionaries(tokenizer, medians, mapping)


def read_tokenizer(path: str | os.PathLike[str], *, gene_names: str | os.PathLike[str] | None = None) -> GeneTokenizer:
    """Read a vocabulary, from a token dictionary or from what `GeneTokenizer.save_vocab` wrote."""
    content = read_dictionary(path)
    symbols: dict[str, Any] = {}
    if isinstance(content.get("vocab"), dict):
        content, symbols = content["vocab"], content.get("gene_to_ens") or {}
    for token, token_id in content.items():
        if not isinstance(token, str) or type(token_id) is not int:
            raise FormatError(f"{os.fspath(path)}: token {token!r} has the id {token_id!r}, expected a whole number.")
    if gene_names is not None:
        symbols = {**symbols, **read_text_dictionary(gene_names)}
    try:
        return GeneTokenizer(content, symbols)
    except DataError as error:
        raise type(error)(f"{os.fspath(path)}: {error}") from error


def read_gene_medians(path: str | os.PathLike[str]) -> dict[str, float]:
    """Read medians: Ensembl id to a number above zero."""
    return check_gene_medians(read_dictionary(path), os.fspath(path))


def check_gene_medians(content: Mapping[Any, Any], source: str) -> dict[str, float]:
    """Return medians as Python numbers.

    Args:
        content: Ensembl id to median.
        source: Where they are from, for messages.

    Raises:
        DataError: A median is no number above zero.
    """
    for gene, median in content.items():
        is_number = isinstance(median, (int, float)) and not isinstance(median, bool)
        if not isinstance(gene, str) or not is_number or not 0 < median < math.inf:
            raise DataError(f"{source}: gene {gene!r} has the median {median!r}, expected a number above 0.")
    return {gene: float(median) for gene, median in content.items()}


def read_text_dictionary(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read gene symbols or a gene mapping: text to text."""
    content = read_dictionary(path)
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise DataError(f"{os.fspath(path)}: {key!r} is mapped to {value!r}, expected text to text.")
    return content


def read_dictionary(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Read a dictionary from JSON, gzipped JSON or a pickle of plain values.

    A file ``PATH.sha256`` beside it, as `convert_dictionary` leaves it, is checked.

    Raises:
        MissingFileError: There is no such file.
        FormatError: It holds no dictionary.
        ChecksumError: It is not the file whose digest was recorded.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file.")
    if path.suffix in PICKLE_SUFFIXES:
        return _read_pickled_dictionary(path)
    data = path.read_bytes()
    recorded = _digest_path(path)
    if recorded.is_file() and recorded.read_text(encoding="ascii").split()[:1] != [hashlib.sha256(data).hexdigest()]:
        raise ChecksumError(f"{path}: differs from the digest in {recorded.name}. Convert the original again.")
    try:
        content = json.loads(gunzip(data, name=path) if path.suffix == ".gz" else data)
    except DecompressionLimitError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise FormatError(f"{path}: holds a {type(content).__name__}, expected an object of names and values.")
    return content


def _read_pickled_dictionary(path: Path) -> dict[Any, Any]:
    """Read a pickled dictionary of the original releases; NumPy scalars become Python numbers."""
    content = read_pickle(path, what="pickled dictionary", refusal="a dictionary of genes does not need")
    if type(content) is not dict:
        is_mapping = isinstance(content, dict)
        expected = (
            f"not read as a pickled dictionary: it is of type {type(content).__name__}"
            if is_mapping
            else (f"holds a {type(content).__name__}, expected a dictionary")
        )
        raise FormatError(f"{path}: {expected}.")
    return {key: _plain_number(value, key, path) for key, value in content.items()}


def _plain_number(value: Any, key: Any, path: Path) -> Any:
    is_number = (
        type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and value.dtype.kind in "biuf"
    )
    if is_number:
        return value.item()
    if type(value) not in (bool, int, float, str, dict, list, type(None)):
        raise FormatError(
            f"{path}: not read as a pickled dictionary: {key!r} has a value of type {type(value).__name__}."
        )
    return value


def convert_dictionary(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write a dictionary of the original releases as JSON, and its sha256 beside it.

    Args:
        source: Pickle or JSON.
        target: ``.json`` or ``.json.gz``.
    """
    path = Path(target)
    data = dictionary_bytes(read_dictionary(source))
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    write_bytes(path, data)
    write_text(_digest_path(path), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")


def dictionary_bytes(content: Mapping[Any, Any]) -> bytes:
    """A dictionary as JSON, one entry a line."""
    return (json.dumps(dict(content), indent=0, ensure_ascii=False) + "\n").encode()


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
