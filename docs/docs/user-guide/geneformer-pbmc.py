# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # Geneformer: from counts to embeddings
#
# Raw counts become tokens, a model reads them, and every cell gets a vector in `adata.obsm`: the way that single-cell
# data take through `bionemo-geneformer`, on 700 peripheral blood cells that come with `scanpy`. Nothing is downloaded;
# the model is a small one, trained here in a few minutes on a CPU. How to take a published model instead is said at
# each step. It needs the extra `[analysis]` of `bionemo-geneformer`, and `scanpy`.

# %% [markdown]
# ## 1. Raw counts
#
# Geneformer ranks genes by raw counts. `scanpy` ships these cells log-normalized, which would be refused; the counts
# can be recovered, for in each cell the smallest non-zero value stands for one molecule.

# %%
import os
import warnings

import numpy as np
import scanpy
from scipy.sparse import csr_matrix


warnings.filterwarnings("ignore")
shipped = scanpy.datasets.pbmc68k_reduced()
linear = np.expm1(shipped.raw.X.toarray())
smallest = np.where(linear > 0, linear, np.inf).min(axis=1, keepdims=True)
counts = csr_matrix(np.rint(linear / smallest).astype(np.float32))
adata = scanpy.AnnData(counts, obs=shipped.obs[["bulk_labels"]], var=shipped.raw.var[[]])
adata.write_h5ad("pbmc.h5ad")
print(adata)

# %% [markdown]
# ## 2. Dictionaries
#
# A model belongs to a token dictionary (which gene has which token) and to medians (how much of each gene is usual).
# Published models come with both, as pickles or JSON: `--token-dictionary` and `--gene-medians` read either. A model
# of one's own gets its own: `geneformer_medians` computes exact medians over a corpus of any size. These cells have
# gene symbols instead of Ensembl ids, so they are taken as they are.

# %%
from bionemo.geneformer.scripts import geneformer_medians


exit_code = geneformer_medians.main(
    """
    --data-path pbmc.h5ad --any-gene-ids --model V2
    --output-path medians.json --save-token-dictionary tokens.json
    """.split()
)

# %% [markdown]
# In a terminal this is `geneformer_medians --data-path pbmc.h5ad ...`; all commands below work the same way.
#
# ## 3. Tokenize
#
# Each cell becomes the list of its genes, from most to least expressed relative to the medians. The result is an
# Arrow dataset that Hugging Face `datasets` loads too. With the dictionaries of a published V2 model, symbols and
# retired ids would be translated by `--gene-mapping`, genes of another species as well. The report says which share of
# the counts the vocabulary knows.

# %%
import json
from pathlib import Path

from bionemo.geneformer.data.tokenized_cells import open_tokenized
from bionemo.geneformer.scripts import tokenize_geneformer


tokenize_geneformer.main(
    """
    --data-path pbmc.h5ad --model V2 --token-dictionary tokens.json --gene-medians medians.json
    --obs-columns bulk_labels --output-path cells
    """.split()
)
cells = open_tokenized("cells")
report = json.loads(Path("cells/report.json").read_text())
print(f"{len(cells)} cells of {cells.lengths.min()} to {cells.lengths.max()} tokens")
print(f"{report['share_of_counts_known']:.0%} of the counts are of known genes")

# %% [markdown]
# The first genes of a cell are the ones that set it apart:

# %%
vocabulary = json.loads(Path("tokens.json").read_text())
gene_of = {token: gene for gene, token in vocabulary.items()}
tokens, _ = cells.read(np.array([0]))
print(cells.column("bulk_labels")[0], [gene_of[token] for token in tokens[1:9].tolist()])

# %% [markdown]
# ## 4. A model
#
# The model learns to predict masked genes from the others. With a published model this step is left out: the folder
# from the Hugging Face Hub takes the place of `runs/pbmc/checkpoints/last`.

# %%
from bionemo.geneformer.scripts import train_geneformer


num_steps = int(os.environ.get("TUTORIAL_STEPS", "120"))  # tests of this page take fewer
exit_code = train_geneformer.main(
    f"""
    --train-tokens cells --token-dictionary tokens.json --gene-medians medians.json
    --num-layers 2 --hidden-size 64 --num-attention-heads 4 --ffn-hidden-size 128 --seq-length 512
    --num-steps {num_steps} --lr 3e-3 --val-check-interval {num_steps // 2} --limit-val-batches None
    --accelerator cpu --result-dir runs --experiment-name pbmc
    """.split()
)

# %%
import csv


lines = Path("runs/pbmc/metrics.csv").read_text().splitlines()
validations = [float(row["val_loss_masked"]) for row in csv.DictReader(lines) if row["val_loss_masked"]]
print(f"guessing among {len(vocabulary)} tokens blindly: {np.log(len(vocabulary)):.1f} nats")
print(f"the model on held-out cells: {validations[-1]:.1f} nats")
assert validations[-1] < np.log(len(vocabulary))

# %% [markdown]
# ## 5. Embed
#
# One call puts a vector for each cell into `adata.obsm`. The vocabulary and the medians lie in the checkpoint, so that
# counts are ranked exactly as in training. `embedding="cell"` is the mean over a cell's genes, `"cls"` the vector of
# its first token. For data that do not fit into memory, `infer_geneformer` writes the same vectors by cell id and
# resumes where it was killed.

# %%
from bionemo.geneformer import Geneformer


model = Geneformer.from_pretrained("runs/pbmc/checkpoints/last", device="cpu")
model.embed(adata, key_added="X_geneformer", embedding="cell", layer=0)
adata.write_h5ad("embedded.h5ad")
print(adata.obsm["X_geneformer"].shape, adata.obsm["X_geneformer"].dtype)

# %% [markdown]
# ## 6. Look at them
#
# From here on everything is as usual: neighbors and a UMAP of the new representation.

# %%
from matplotlib import pyplot as plt


scanpy.pp.neighbors(adata, use_rep="X_geneformer", random_state=0)
scanpy.tl.umap(adata, random_state=0)
figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
drawn = scanpy.pl.umap(adata, color="bulk_labels", ax=axes, show=False, title="Geneformer, 700 blood cells")

# %% [markdown]
# ## 7. Are they worth anything?
#
# An embedding should be judged beside what needs no model. `evaluate_geneformer` tells the cell types from it by
# logistic regression and by neighbors, on the same folds as from principal components and from variable genes. A
# model of this size that has seen 700 cells is not expected to win: without fine-tuning large ones often do not
# either. The command draws the UMAPs side by side; here `--no-umap` leaves that out.

# %%
from bionemo.geneformer.scripts import evaluate_geneformer


evaluate_geneformer.main(
    """
    --data-path pbmc.h5ad --embeddings-path geneformer=embedded.h5ad --label-column bulk_labels
    --results-path evaluation --no-umap
    """.split()
)
report = json.loads(Path("evaluation/report.json").read_text())
for name, scores in report["representations"].items():
    print(f"{name:12s} macro-F1 {scores['logistic_macro_f1']:.1f}, neighbors {scores['knn_macro_f1']:.1f}")
