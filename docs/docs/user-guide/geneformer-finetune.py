# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # Geneformer: fine-tune on cell types
#
# A pretrained model learns to name the types of 700 blood cells that ship with `scanpy`, and is saved as a folder that
# `transformers` opens. Everything runs on a CPU, without any download: the model here is a small one with random
# weights. With a published Geneformer its folder takes the place of `model`, and its dictionaries are given by
# `--token-dictionary`, `--gene-medians` and `--gene-names`.

# %% [markdown]
# ## 1. Cells with raw counts and labels
#
# `scanpy` ships the cells log-normalized; in each cell the smallest value stands for one molecule, which gives the
# counts back.

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
adata = scanpy.AnnData(counts, obs=shipped.obs[["bulk_labels"]].astype(str), var=shipped.raw.var[[]])
adata.write_h5ad("cells.h5ad")
adata.obs["bulk_labels"].value_counts().to_dict()

# %% [markdown]
# ## 2. A model
#
# Any folder in Hugging Face layout: one that `train_geneformer` wrote, a published V1 or V2, or, as here, random
# weights. Vocabulary and medians lie in the folder, so that counts are ranked in fine-tuning as in pretraining.

# %%
from bionemo.geneformer.api import build_geneformer, geneformer_config, save_geneformer
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V1


dense = counts.toarray()
normalized = dense / dense.sum(axis=1, keepdims=True) * 10_000
medians = {
    gene: float(np.median(column[column > 0]))
    for gene, column in zip(adata.var_names, normalized.T, strict=True)
    if column.any()
}
tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, {}, variant=V1)
config = geneformer_config(
    "V1", vocab_size=tokenizer.vocab_size, vocabulary_fingerprint=tokenizer.fingerprint, seq_length=512,
    num_layers=2, hidden_size=64, num_attention_heads=4, ffn_hidden_size=128, attention_dropout=0.0,
    init_method_std=0.1,
)  # fmt: skip
module = build_geneformer(config, seed=42)
module.dictionaries = Dictionaries(tokenizer, medians, {})
save_geneformer(module, "model")
print(f"{sum(p.numel() for p in module.parameters()):,} parameters, {tokenizer.vocab_size} tokens")

# %% [markdown]
# ## 3. Fine-tune
#
# A fifth of each type is held out. `--pooling mean` describes a cell by the mean of its genes; `first`, the default,
# by its first token, as `BertForSequenceClassification` does. `--lora-finetune`, `--num-frozen-layers` and
# `--encoder-frozen` train less of a large model, `--folds 5` cross-validates, and `--task-type regression` and
# `gene-classification` predict values and genes. In a terminal this is `finetune_geneformer --train-data-path ...`.

# %%
from bionemo.geneformer.scripts import finetune_geneformer


num_epochs = int(os.environ.get("TUTORIAL_EPOCHS", "12"))  # tests of this page take fewer
exit_code = finetune_geneformer.main(
    f"""
    --restore-from-checkpoint-path model --train-data-path cells.h5ad --label-column bulk_labels
    --pooling mean --class-weights balanced --num-epochs {num_epochs} --lr 3e-3 --micro-batch-size 32
    --accelerator cpu --result-dir runs --experiment-name types
    """.split()
)

# %% [markdown]
# The folder holds the model, the curve, and what was predicted for every held-out cell.

# %%
import csv
import json
from pathlib import Path


scores = json.loads(Path("runs/types/scores.json").read_text())
with Path("runs/types/predictions.csv").open() as file:
    predictions = list(csv.DictReader(file))
print(sorted(path.name for path in Path("runs/types").iterdir()))
print(f"{scores['num_held_out']} cells held out, accuracy {scores['accuracy']:.1f}")
assert 0 < scores["macro_f1"] <= 1

# %% [markdown]
# ## 4. Which types are mixed up?
#
# Rows are the true types, columns the predicted ones, as shares of each row.

# %%
from matplotlib import pyplot as plt


types = sorted({row["truth"] for row in predictions})
place = {name: number for number, name in enumerate(types)}
shares = np.zeros((len(types), len(types)))
for row in predictions:
    if row["predicted"] in place:
        shares[place[row["truth"]], place[row["predicted"]]] += 1
shares /= shares.sum(axis=1, keepdims=True).clip(min=1)
figure, axes = plt.subplots(figsize=(7.5, 6), layout="constrained")
image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
axes.set_xticks(range(len(types)), types, rotation=60, ha="right")
axes.set_yticks(range(len(types)), types)
axes.set(xlabel="predicted", ylabel="true", title="Cell types of held-out cells")
_ = figure.colorbar(image, label="share of the type's cells")
# %% [markdown]
# ## 5. Use it
#
# `load_finetuned` opens the folder, `load_geneformer` its encoder alone, for embeddings and perturbations in the space
# that knows these types. A model with `--pooling first` is opened by
# `transformers.AutoModelForSequenceClassification` too.

# %%
import torch

from bionemo.geneformer.api import load_finetuned
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead


classifier = load_finetuned("runs/types/model")
cells = TokenizedOnRead(open_adata(adata), classifier.dictionaries)
tokens, _ = cells.read(np.array([0]))
with torch.no_grad():
    probabilities = classifier(torch.from_numpy(tokens)[None]).softmax(dim=-1)[0]
print(len(classifier.head_config.classes), "types, probabilities sum to", f"{probabilities.sum():.2f}")
