# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # Geneformer: in-silico perturbation
#
# Which genes keep a cell what it is? In-silico perturbation removes a gene from a cell's ranked list, or moves it up
# or down, and measures how far the model's embedding of the cell moves: towards another state, or just away. The
# cells here are 700 peripheral blood cells that come with `scanpy`; the model is a small one with random weights: its
# answers show how the tools work, they are no biology. How to take a trained model instead is said where it matters.
# It needs the extra `[analysis]` of `bionemo-geneformer`, and `scanpy`.

# %% [markdown]
# ## 1. Cells and a model
#
# Raw counts, dictionaries and tokens as in the tutorial on embeddings; then a model of the V2 family. A published
# model that was fine-tuned on states of interest (healthy and diseased, say) takes the place of the model built here:
# its folder is the `--checkpoint-path` below.

# %%
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

# %%
from bionemo.geneformer.api import build_geneformer, geneformer_config, save_geneformer
from bionemo.geneformer.data.dictionaries import load_dictionaries
from bionemo.geneformer.scripts import geneformer_medians, tokenize_geneformer


commands = {
    geneformer_medians: """
        --data-path pbmc.h5ad --any-gene-ids --model V2
        --output-path medians.json --save-token-dictionary tokens.json
    """,
    tokenize_geneformer: """
        --data-path pbmc.h5ad --model V2 --token-dictionary tokens.json --gene-medians medians.json
        --obs-columns bulk_labels --output-path cells
    """,
}
exit_codes = [command.main(flags.split()) for command, flags in commands.items()]
dictionaries = load_dictionaries("tokens.json", "medians.json")
sizes = {"num_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "ffn_hidden_size": 128, "seq_length": 512}
config = geneformer_config("V2", vocab_size=dictionaries.tokenizer.vocab_size, init_method_std=0.3, **sizes)
random_model = build_geneformer(config, seed=1)
random_model.dictionaries = dictionaries
save_geneformer(random_model, "model")

# %% [markdown]
# ## 2. One gene, a few cells, in Python
#
# `perturb` takes an AnnData object with raw counts and gives a data frame: a row for each edit of each cell. With
# states it measures the shift of the cell's embedding, the change of its cosine to the mean embedding of a state:
# positive is towards it. Here lysozyme, a gene of monocytes, is deleted from monocytes; are they closer to B cells?

# %%
from bionemo.geneformer.geneformer import Geneformer


model = Geneformer.from_pretrained("model", device="cpu")
states = {"state_key": "bulk_labels", "start_state": "CD14+ Monocyte", "goal_state": "CD19+ B"}
measure = {"embedding": "cell", "layer": 0, "max_cells": 40}  # the mean over genes, of the last layer
shifts = model.perturb(adata, genes=["LYZ"], perturb_type="delete", **states, **measure)
print(shifts[["cell_id", "gene_name", "shift_to_start", "shift_to_goal"]].head(3).to_string(index=False))
print(f"moved towards B cells: {(shifts['shift_to_goal'] > 0).sum()} of {len(shifts)} cells")

# %% [markdown]
# The other perturbations are `overexpress` (to the front of the list, inserted where it is absent), and `inhibit` and
# `activate`, which move a gene down or up by `rank_shift` quartiles of the list. Several genes are perturbed together.
# Without states the result is the cosine of the embeddings before and after: 1 where nothing changes.

# %%
strong = model.perturb(adata, genes=["MS4A1", "CD79A"], perturb_type="overexpress", **states, **measure)
weak = model.perturb(adata, genes=["LYZ"], perturb_type="inhibit", rank_shift=1, **measure)
print(f"two B cell genes in front: mean shift {strong['shift_to_goal'].mean():+.4f}")
print(f"lysozyme one quartile down: mean cosine {weak['cosine'].mean():.4f}")

# %% [markdown]
# ## 3. Every gene of a cell
#
# The command perturbs all genes of each cell, one at a time, and adds statistics. Unperturbed cells go through the
# model once, perturbed ones in packed batches without padding; on several GPUs with `--devices`. A killed call
# resumes where it was. In a terminal this is `perturb_geneformer --checkpoint-path ...`.

# %%
from bionemo.geneformer.scripts import perturb_geneformer


exit_code = perturb_geneformer.main(
    [
        "--checkpoint-path=model", "--data-path=cells", "--embedding=cell", "--layer=0",
        "--state-key=bulk_labels", "--start-state=CD14+ Monocyte", "--goal-state=CD19+ B", "--alt-states=Dendritic",
        "--max-cells=4", "--min-detections=3", "--accelerator=cpu", "--results-path=deleted",
    ]
)  # fmt: skip

# %%
from pathlib import Path


print(*sorted(path.name for path in Path("deleted").iterdir()))

# %% [markdown]
# `shifts.parquet` holds every edit of every cell, `statistics.csv` one row for each gene: its mean shift, a rank-sum
# test against the shifts of all genes, the false discovery rate, and in how many cells it was seen. p-values rank
# genes; a gene seen in a few cells only is flagged.

# %%
import pandas as pd


table = pd.read_csv("deleted/statistics.csv")
columns = ["Gene_name", "Shift_to_goal_end", "Shift_to_alt_end", "Goal_end_FDR", "N_Detections", "Sig"]
well_seen = table[table["Few_detections"] == 0]
print(well_seen[columns].head(8).to_string(index=False, float_format="%.5f"))

# %% [markdown]
# The volcano plot shows both at once: `volcano.png`, drawn here once more.

# %%
from matplotlib import pyplot as plt

from bionemo.geneformer.perturbation.volcano import draw_volcano


drawn = draw_volcano(plt.figure(figsize=(7.5, 5), layout="constrained"), table.to_dict("series"))

# %% [markdown]
# ## 4. Against null cells
#
# Is a gene's effect special for these cells? The same perturbation of other cells is the null distribution:
# statistics of two finished results cost seconds and need no model.

# %%
for name, kind in (("monocytes", "CD14+ Monocyte"), ("dendritic", "Dendritic")):
    perturb_geneformer.main(
        [
            "--checkpoint-path=model", "--data-path=cells", "--embedding=cell", "--layer=0",
            f"--filter-cells=bulk_labels={kind}", "--max-cells=4", "--statistics=none",
            "--accelerator=cpu", f"--results-path={name}",
        ]
    )  # fmt: skip
exit_code = perturb_geneformer.main(
    ["--shifts-path=monocytes", "--null-shifts-path=dendritic", "--min-detections=3", "--results-path=compared"]
)
table = pd.read_csv("compared/statistics.csv")
columns = ["Gene_name", "Test_avg_shift", "Null_avg_shift", "Test_vs_null_FDR", "N_Detections_test", "Sig"]
print(table[table["Few_detections"] == 0][columns].tail(5).to_string(index=False, float_format="%.5f"))
