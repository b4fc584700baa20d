# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Interfaces of datasets whose rows are cells."""

from abc import ABC, abstractmethod

from torch.utils.data import Dataset


class SingleCellRowDatasetCore(ABC):
    """Sizes and loading of a collection of cells that share, or do not share, their features."""

    @abstractmethod
    def load_h5ad(self, h5ad_path: str) -> None:
        """Read an h5ad file into this dataset."""

    @abstractmethod
    def number_nonzero_values(self) -> int:
        """Number of stored values."""

    @abstractmethod
    def number_of_values(self) -> int:
        """Number of values, zeros included: the sum over rows of their number of features."""

    @abstractmethod
    def number_of_rows(self) -> int:
        """Number of cells."""

    @abstractmethod
    def shape(self) -> tuple[int, list[int]]:
        """Number of rows, and the number of features of every block of rows with the same features."""

    @abstractmethod
    def version(self) -> str:
        """Version of the package that implements the dataset."""

    def sparsity(self) -> float:
        """Share of the values that are not stored; 0.0 for a dataset without values."""
        total = self.number_of_values()
        return (total - self.number_nonzero_values()) / total if total else 0.0


class SingleCellRowDataset(SingleCellRowDatasetCore, Dataset):  # type: ignore[type-arg]  # items differ by class
    """A single-cell dataset that can also be saved and loaded, and that torch can sample from."""

    @abstractmethod
    def load(self, data_path: str) -> None:
        """Open a saved dataset."""

    @abstractmethod
    def save(self, data_path: str | None = None) -> bool:
        """Write the dataset."""
