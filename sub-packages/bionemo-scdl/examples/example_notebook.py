# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # From an h5ad file to a trained classifier
#
# This notebook converts a small real data set into an SCDL archive, looks at the archive, and trains a linear
# classifier of cell types on batches read from it. The data are 700 peripheral blood cells that come with `scanpy`
# (`pip install scanpy`), so nothing is downloaded. The same lines work for files far larger than memory.

# %% [markdown]
# ## 1. The h5ad file
#
# `scanpy` ships log-normalized values. An archive keeps raw counts, which can be recovered: in each cell the smallest
# non-zero value stands for one molecule.

# %%
import warnings

import numpy as np
import scanpy
from scipy.sparse import csr_matrix


warnings.filterwarnings("ignore")
cells = scanpy.datasets.pbmc68k_reduced()
linear = np.expm1(cells.raw.X.toarray())
smallest = np.where(linear > 0, linear, np.inf).min(axis=1, keepdims=True)
counts = csr_matrix(np.rint(linear / smallest).astype(np.float32))

adata = scanpy.AnnData(counts, obs=cells.obs[["bulk_labels", "n_genes"]], var=cells.var[["highly_variable"]])
adata.write_h5ad("pbmc.h5ad")
print(adata)

# %% [markdown]
# ## 2. Convert
#
# One call makes the archive. The counts are in `X` here; without `use_X_not_raw` they would be taken from `raw.X`.
# Every count fits into 16 bits, so half of the space of float32 is enough; `on_loss="error"` would stop if one did
# not. Whole folders of files are converted by the command `convert_h5ad_to_scdl`.

# %%
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


dataset = SingleCellMemMapDataset.from_h5ad(
    "pbmc.h5ad", "pbmc_archive", use_X_not_raw=True, data_dtype="uint16", on_loss="error"
)
print(len(dataset), "cells,", dataset.number_of_variables()[0], "genes")
print(f"{dataset.number_nonzero_values():,} stored values, sparsity {dataset.sparsity():.2f}")
print("problems found by reading every file:", dataset.verify())

# %% [markdown]
# ## 3. Look inside
#
# A row is its stored values and their columns; features of genes and cells come on request. Nothing is read before
# it is asked for.

# %%
(values, columns), gene_features, cell_features = dataset.get_row(
    0, return_var_features=True, return_obs_features=True, obs_feature_names=["bulk_labels"]
)
print("cell 0 is a", cell_features[0])
print("first values:", values[:5], "in columns", columns[:5])
print("their genes:", dataset.var_frame().index[columns[:5]].tolist())

# %% [markdown]
# The archive goes back to AnnData whenever that is handier, all of it or some rows, with names and categories:

# %%
print(dataset.to_anndata(slice(0, 5)).obs)

# %% [markdown]
# ## 4. Batches
#
# A `DataLoader` gathers a whole batch in one step. `BlockShuffleSampler` shuffles well and still reads the disk in
# blocks; its whole state is two integers, so that training can stop and continue at any batch. `DenseCollate` gives
# tensors of one width. The last 140 cells of a random order are held out for the test.

# %%
import torch
from torch.utils.data import DataLoader

from bionemo.scdl.sampling.block_shuffle import BlockShuffleSampler
from bionemo.scdl.util.collate import DenseCollate


labels_of_rows = dataset.obs_frame()["bulk_labels"].cat
class_names = list(labels_of_rows.categories)
labels = torch.tensor(labels_of_rows.codes.to_numpy(), dtype=torch.long)
order = np.random.default_rng(0).permutation(len(dataset))
test_rows, is_train = order[:140], torch.ones(len(dataset), dtype=torch.bool)
is_train[torch.from_numpy(test_rows)] = False


class CellsWithLabels(torch.utils.data.Dataset):
    """Rows of the archive together with their labels."""

    def __len__(self):
        return len(dataset)

    def __getitems__(self, rows):
        return dataset.__getitems__(rows), labels[rows], is_train[rows]


to_dense = DenseCollate(dataset.number_of_variables()[0])


def collate(batch):
    cells, labels, is_train = batch
    depth_corrected = to_dense(cells)
    depth_corrected = torch.log1p(1e4 * depth_corrected / depth_corrected.sum(1, keepdim=True))
    return depth_corrected[is_train], labels[is_train]


sampler = BlockShuffleSampler(dataset, batch_size=64, block_size=16, pool_size=256, seed=42)
loader = DataLoader(CellsWithLabels(), batch_sampler=sampler, collate_fn=collate)
features, targets = next(iter(loader))
print("features", tuple(features.shape), "labels", tuple(targets.shape), "state", sampler.state_dict())

# %% [markdown]
# ## 5. Train
#
# A linear model on log-normalized expression, twenty passes over the cells.

# %%
torch.manual_seed(0)
model = torch.nn.Linear(features.shape[1], len(class_names))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
sampler.load_state_dict({"epoch": 0, "position": 0})
losses = []
for _ in range(20):
    epoch_losses = []
    for features, targets in loader:
        loss = torch.nn.functional.cross_entropy(model(features), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        epoch_losses.append(loss.item())
    losses.append(float(np.mean(epoch_losses)))
print(f"loss {losses[0]:.1f} in the first epoch, {losses[-1]:.1f} in the last")

# %% [markdown]
# ## 6. Test
#
# The held-out cells, by the same way. Guessing the most frequent type would be right for about a third of them.

# %%
dense, test_labels = to_dense(dataset[test_rows]), labels[test_rows]
with torch.no_grad():
    predicted = model(torch.log1p(1e4 * dense / dense.sum(1, keepdim=True))).argmax(1)
accuracy = (predicted == test_labels).float().mean().item()
majority = test_labels.bincount().max().item() / len(test_labels)
print(f"accuracy {accuracy:.1f}, most frequent type {majority:.1f}")
assert accuracy > majority + 0.2
