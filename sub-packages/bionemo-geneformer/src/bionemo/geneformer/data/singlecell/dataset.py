# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells of an SCDL archive as masked samples, one at a time, for padded batches.

A sample is a pure function of (seed, epoch, index). For training without padding see
`bionemo.geneformer.data.packed_cells`.
"""

import os
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bionemo.core.data.multi_epoch_dataset import EpochIndex
from bionemo.core.errors import ConfigError, DataError
from bionemo.core.utils.random_utils import get_seed_from_rng
from bionemo.geneformer.data.count_sources import ArchiveCounts
from bionemo.geneformer.data.singlecell.utils import sample_or_truncate
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.data.masking import BertMaskConfig, add_cls_and_eos_tokens, apply_bert_pretraining_mask
from bionemo.llm.data.types import BertSample


class SingleCellDataset(Dataset[BertSample]):
    """Masked cells of an archive whose gene table has the column ``feature_id``.

    Args:
        data_path: The archive.
        tokenizer: The vocabulary.
        median_dict: Ensembl id to median.
        max_len: Longest sample in tokens, special ones included.
        mask_prob: Probability that a gene is selected for the loss.
        mask_token_prob: Probability that a selected token is replaced by the mask token.
        random_token_prob: Probability that a selected token is replaced by a random gene.
        prepend_cls_token: Whether the class token comes first.
        eos_token: Id of the token to append, or None.
        include_unrecognized_vocab_in_dataset: Refuse a cell with a gene that the vocabulary lacks, instead of leaving
            the gene out. BioNeMo 2 compatible name.
        refuse_unknown_genes: A clearer name for the same.
        seed: Seed of the masks.

    Raises:
        ConfigError: `max_len` is below 2, or a probability is impossible.
        DataError: The archive has no column ``feature_id``.
    """

    def __init__(
        self,
        data_path: str | os.PathLike[str],
        tokenizer: GeneTokenizer,
        median_dict: Mapping[str, float] | None = None,
        max_len: int = 1024,
        mask_prob: float = 0.15,
        mask_token_prob: float = 0.8,
        random_token_prob: float = 0.1,
        prepend_cls_token: bool = True,
        eos_token: int | None = None,
        include_unrecognized_vocab_in_dataset: bool = False,
        seed: int = 42,
        *,
        refuse_unknown_genes: bool = False,
    ):
        if median_dict is None:
            raise ConfigError("gene_median must be provided: the dictionary of Ensembl id to median.")
        self.source = ArchiveCounts.open(data_path)
        self.tokenizer = tokenizer
        self.gene_medians = median_dict
        self.seed = seed
        self._options = {
            "max_len": max_len,
            "mask_prob": mask_prob,
            "mask_token_prob": mask_token_prob,
            "random_token_prob": random_token_prob,
            "prepend_cls_token": prepend_cls_token,
            "eos_token": eos_token,
            "include_unrecognized_vocab_in_dataset": include_unrecognized_vocab_in_dataset or refuse_unknown_genes,
        }
        _check_lengths(max_len, prepend_cls_token, eos_token)
        for table in self.source.gene_tables:
            if "feature_id" not in table:
                raise DataError(f"{data_path}: the gene table has no column 'feature_id', found {sorted(table)}.")
        # The gene tables one after the other, as the source numbers its columns.
        self._feature_ids = np.concatenate([np.asarray(table["feature_id"]) for table in self.source.gene_tables])

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: EpochIndex) -> BertSample:
        """The masked cell of an index in an epoch.

        Raises:
            IndexError: There is no such cell.
            DataError: The cell has no known gene, or one that is unknown while that is refused.
        """
        if not 0 <= index.idx < len(self):
            raise IndexError(f"cell {index.idx} is out of range: there are {len(self)}.")
        counts = self.source.read(np.array([index.idx]))
        rng = np.random.default_rng([self.seed, index.epoch, index.idx])
        try:
            return process_item(
                counts.values,
                counts.columns,
                self._feature_ids,
                self.tokenizer,
                self.gene_medians,
                rng,
                **self._options,  # type: ignore[arg-type]  # each is what process_item declares
            )
        except DataError as error:
            raise DataError(f"{self.source.name}: cell {index.idx}: {error}") from error


def process_item(
    gene_data: NDArray[np.number],
    gene_idxs: NDArray[np.integer],
    feature_ids: NDArray[np.str_],
    tokenizer: GeneTokenizer,
    gene_median: Mapping[str, float] | None,
    rng: np.random.Generator,
    max_len: int = 1024,
    mask_prob: float = 0.15,
    mask_token_prob: float = 0.8,
    random_token_prob: float = 0.1,
    target_sum: int = 10_000,
    normalize: bool = True,
    prepend_cls_token: bool = True,
    eos_token: int | None = None,
    include_unrecognized_vocab_in_dataset: bool = False,
) -> BertSample:
    """Rank and mask the genes of one cell.

    Args:
        gene_data: [K] stored counts.
        gene_idxs: [K] column of each.
        feature_ids: [G] Ensembl id of each column.
        tokenizer: The vocabulary.
        gene_median: Ensembl id to median; may be None without `normalize`.
        rng: Gives the seed of the mask.
        max_len: Longest sample in tokens, special ones included.
        mask_prob: Probability that a gene is selected for the loss.
        mask_token_prob: Probability that a selected token is replaced by the mask token.
        random_token_prob: Probability that a selected token is replaced by a random gene.
        target_sum: Counts of the cell after normalization.
        normalize: Whether counts are divided by the cell's total and the gene's median before they are ranked.
        prepend_cls_token: Whether the class token comes first.
        eos_token: Id of the token to append, or None.
        include_unrecognized_vocab_in_dataset: Raise on a gene that the vocabulary lacks, instead of leaving it out.

    Returns:
        The sample; equal values come in the order of their tokens.

    Raises:
        ConfigError: `max_len` leaves no room, or medians are needed and not given.
        DataError: No gene is known, one has no median, or one is unknown while that is refused.
    """
    num_genes = _check_lengths(max_len, prepend_cls_token, eos_token)
    if normalize and gene_median is None:
        raise ConfigError("gene_median must be provided: genes are ranked relative to their medians.")
    names = feature_ids[gene_idxs]
    is_known = np.array([name in tokenizer.vocab for name in names], dtype=bool)
    if include_unrecognized_vocab_in_dataset and not is_known.all():
        missing = names[~is_known][0]
        raise DataError(f"Provided gene identifier, {missing}, is not in the tokenizer vocab.")
    names, values = names[is_known], gene_data[is_known].astype(np.float64)
    names, values = names[values > 0], values[values > 0]
    if not len(names):
        raise DataError("no gene with a count is in the tokenizer vocab.")
    tokens = np.array([tokenizer.vocab[name] for name in names], dtype=np.int64)
    if normalize:
        values = values / values.sum() * target_sum / _medians_of(names, gene_median or {})
    ranked = sample_or_truncate(tokens[np.lexsort((tokens, -values))], num_genes, sample=False)
    config = BertMaskConfig(
        tokenizer=tokenizer,
        random_tokens=tokenizer.gene_token_ids,
        mask_prob=mask_prob,
        mask_token_prob=mask_token_prob,
        random_token_prob=random_token_prob,
    )
    masked, labels, loss_mask = apply_bert_pretraining_mask(torch.from_numpy(ranked), get_seed_from_rng(rng), config)
    text, labels, loss_mask = add_cls_and_eos_tokens(
        masked, labels, loss_mask, tokenizer.class_id if prepend_cls_token else None, eos_token
    )
    return BertSample(
        text=text,
        types=torch.zeros_like(text),
        attention_mask=torch.ones_like(text),
        labels=labels,
        loss_mask=loss_mask,
        is_random=torch.zeros_like(text),
    )


def _check_lengths(max_len: int, prepend_cls_token: bool, eos_token: int | None) -> int:
    """Genes that fit into a sample."""
    if max_len < 2:
        raise ConfigError(f"max_len must be greater than 1, found {max_len}.")
    num_genes = max_len - prepend_cls_token - (eos_token is not None)
    if num_genes < 1:
        raise ConfigError(f"max_len must leave room for a gene beside the special tokens, found {max_len}.")
    return num_genes


def _medians_of(names: NDArray[np.str_], gene_median: Mapping[str, float]) -> NDArray[np.float64]:
    missing = next((name for name in names if name not in gene_median), None)
    if missing is not None:
        raise DataError(f"gene {missing} has no median. Give the medians of the vocabulary's version.")
    return np.array([gene_median[name] for name in names])
