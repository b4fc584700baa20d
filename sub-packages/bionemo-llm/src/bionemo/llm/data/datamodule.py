# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Data modules of padded batches that continue exactly where a run stopped.

A data set is walked in its own order (shuffling is the business of `MultiEpochDatasetResampler`), so the position is
one number, the samples consumed by all ranks together. Packed batches have a schedule and a position of their own, see
`bionemo.core.data.size_aware_batching`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from bionemo.core.errors import ConfigError
from bionemo.llm.data.collate import bert_padding_collate_fn


class ConsumedSamplesSampler(Sampler[list[int]]):
    """Micro-batches of consecutive samples, distributed to the ranks in turn.

    Rank r of W gets the micro-batches r, r + W, ... counted from `consumed_samples`. The last one may be short. In
    training a last step that does not reach every rank is left out, so that no rank waits for another.

    Args:
        num_samples: Size of the data set.
        micro_batch_size: Samples of one batch on one rank.
        consumed_samples: Samples already consumed by all ranks together.
        rank: This rank.
        world_size: Number of data-parallel ranks.
        drop_last: Whether to leave out what does not fill a whole step of all ranks.
    """

    def __init__(
        self,
        num_samples: int,
        micro_batch_size: int,
        *,
        consumed_samples: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ):
        if micro_batch_size < 1:
            raise ConfigError(f"micro_batch_size must be at least 1, found {micro_batch_size}.")
        if not 0 <= consumed_samples <= num_samples:
            raise ConfigError(
                f"consumed_samples={consumed_samples} lies outside the {num_samples} samples of the data set."
            )
        self.num_samples = num_samples
        self.micro_batch_size = micro_batch_size
        self.consumed_samples = consumed_samples
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        step_size = self.micro_batch_size * self.world_size
        for step in range(len(self)):
            first = self.consumed_samples + step * step_size + self.rank * self.micro_batch_size
            yield list(range(first, min(first + self.micro_batch_size, self.num_samples)))

    def __len__(self) -> int:
        whole_steps, rest = divmod(self.num_samples - self.consumed_samples, self.micro_batch_size * self.world_size)
        if self.drop_last:
            return whole_steps
        return whole_steps + (rest > self.rank * self.micro_batch_size)


class PaddedDataModule(pl.LightningDataModule):
    """Loaders of padded batches over ready data sets, and the position of the training one.

    Args:
        pad_token_id: Id of padding.
        min_seq_length: Pad to at least this many tokens.
        max_seq_length: Cut samples to this many tokens.
        micro_batch_size: Samples of one batch on one rank.
        global_batch_size: Samples of one optimizer step on all ranks.
        num_workers: Worker processes of each loader.
        persistent_workers: Whether workers outlive an epoch.
        pin_memory: Whether batches are put into page-locked memory, where there is a GPU.
    """

    def __init__(
        self,
        *,
        pad_token_id: int,
        min_seq_length: int | None = None,
        max_seq_length: int = 512,
        micro_batch_size: int = 16,
        global_batch_size: int = 16,
        num_workers: int = 4,
        persistent_workers: bool = True,
        pin_memory: bool = True,
    ):
        super().__init__()
        if global_batch_size % micro_batch_size:
            raise ConfigError(
                f"global_batch_size={global_batch_size} is no multiple of micro_batch_size={micro_batch_size}."
            )
        self.pad_token_id = pad_token_id
        self.min_seq_length = min_seq_length
        self.max_seq_length = max_seq_length
        self.micro_batch_size = micro_batch_size
        self.global_batch_size = global_batch_size
        self.num_workers = num_workers
        self.persistent_workers = persistent_workers and num_workers > 0
        self.pin_memory = pin_memory
        self.init_consumed_samples = 0
        self._init_global_step = 0

    def state_dict(self) -> dict[str, Any]:
        """Position for an exact resume: ``{"consumed_samples": n}``."""
        return {"consumed_samples": self.consumed_samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a position over; the next training loader starts there."""
        self.init_consumed_samples = int(state_dict["consumed_samples"])
        self._init_global_step = self._global_step

    @property
    def consumed_samples(self) -> int:
        """Training samples consumed by all ranks together, since the start of the run."""
        return self.init_consumed_samples + (self._global_step - self._init_global_step) * self.global_batch_size

    @property
    def _global_step(self) -> int:
        return int(self.trainer.global_step) if self.trainer is not None else 0

    def build_dataloader(
        self,
        dataset: Dataset[Any],
        *,
        training: bool = False,
        collate: Callable[[Sequence[Any]], Any] | None = None,
    ) -> DataLoader[Any]:
        """Build the loader of a data set.

        Args:
            dataset: Samples, as long as the walk shall be.
            training: Whether to start at the position of the run, and to leave out an incomplete last step.
            collate: Samples to batch; None: padding with `bert_padding_collate_fn`.
        """
        if training:
            # The new loader starts at the position reached: steps are counted from here on.
            self.init_consumed_samples = self.consumed_samples
            self._init_global_step = self._global_step
        sampler = ConsumedSamplesSampler(
            len(dataset),  # type: ignore[arg-type]  # torch's Dataset has no __len__, ours do
            self.micro_batch_size,
            consumed_samples=self.init_consumed_samples if training else 0,
            rank=self.trainer.global_rank if self.trainer is not None else 0,
            world_size=self.trainer.world_size if self.trainer is not None else 1,
            drop_last=training,
        )
        pad = functools.partial(
            bert_padding_collate_fn,
            padding_value=self.pad_token_id,
            min_length=self.min_seq_length,
            max_length=self.max_seq_length,
        )
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=pad if collate is None else collate,
            num_workers=self.num_workers,
            persistent_workers=self.persistent_workers,
            pin_memory=self.pin_memory and torch.cuda.is_available(),
        )


class MockDataModule(PaddedDataModule):
    """Loaders over data sets that exist already: for tests, and for a user's own samples.

    Args:
        train_dataset: Samples of `bionemo.llm.data.types.BertSample`, or None.
        valid_dataset: As above.
        test_dataset: As above.
        predict_dataset: As above.
        pad_token_id: Id of padding.
        min_seq_length: Pad to at least this many tokens.
        max_seq_length: Cut samples to this many tokens.
        micro_batch_size: Samples of one batch on one rank.
        global_batch_size: Samples of one optimizer step on all ranks.
        num_workers: Worker processes of each loader.
    """

    def __init__(
        self,
        train_dataset: Dataset[Any] | None = None,
        valid_dataset: Dataset[Any] | None = None,
        test_dataset: Dataset[Any] | None = None,
        predict_dataset: Dataset[Any] | None = None,
        pad_token_id: int = 0,
        min_seq_length: int | None = None,
        max_seq_length: int = 512,
        micro_batch_size: int = 16,
        global_batch_size: int = 16,
        num_workers: int = 4,
    ):
        super().__init__(
            pad_token_id=pad_token_id,
            min_seq_length=min_seq_length,
            max_seq_length=max_seq_length,
            micro_batch_size=micro_batch_size,
            global_batch_size=global_batch_size,
            num_workers=num_workers,
            pin_memory=False,
        )
        self.datasets = {
            "train": train_dataset,
            "valid": valid_dataset,
            "test": test_dataset,
            "predict": predict_dataset,
        }

    def train_dataloader(self) -> DataLoader[Any]:
        """Loader of the training set."""
        return self.build_dataloader(self._dataset("train"), training=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Loader of the validation set."""
        return self.build_dataloader(self._dataset("valid"))

    def test_dataloader(self) -> DataLoader[Any]:
        """Loader of the test set."""
        return self.build_dataloader(self._dataset("test"))

    def predict_dataloader(self) -> DataLoader[Any]:
        """Loader of the samples to predict."""
        return self.build_dataloader(self._dataset("predict"))

    def _dataset(self, split: str) -> Dataset[Any]:
        dataset = self.datasets[split]
        if dataset is None:
            raise ConfigError(f"No {split}_dataset was provided. Give one to MockDataModule.")
        return dataset
