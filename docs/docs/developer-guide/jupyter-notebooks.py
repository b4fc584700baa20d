# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # Notebooks
#
# Notebooks of this repository are written as scripts and rendered: a script reads well in a review, and its outputs
# can be checked. This page is such a notebook; its source is `jupyter-notebooks.py` beside it.
#
# - A line `# %%` begins a code cell, a line `# %% [markdown]` a text cell.
# - `docs/scripts/render_notebooks.py SCRIPT` executes the cells in a new interpreter and an empty folder, with one
#   thread, and writes the `.ipynb` beside the script with everything printed, returned and drawn.
# - `docs/scripts/render_notebooks.py --check` does the same and compares; the nightly checks run it.
#
# To work interactively open the script itself: most editors run percent cells one by one.

# %% [markdown]
# ## An example
#
# ESM-2 reads a protein as tokens: one per residue, with one before and one after the sequence. This is the A chain of
# human insulin.

# %%
from bionemo.esm2.data.tokenizer import get_tokenizer


tokenizer = get_tokenizer()
sequence = "GIVEQCCTSICSLYQLENYCN"
input_ids = tokenizer.encode(sequence)
print(f"{len(sequence)} residues, {len(input_ids)} tokens")
print([int(token_id) for token_id in input_ids])

# %% [markdown]
# The last value of a cell becomes its output, and a figure its picture:

# %%
from collections import Counter

from matplotlib import pyplot as plt


counts = Counter(sequence).most_common()
figure, axes = plt.subplots(figsize=(6, 2.4), layout="constrained")
axes.bar([residue for residue, _ in counts], [count for _, count in counts], color="#0b7a75")
axes.set(xlabel="residue", ylabel="count", title="Residues of the insulin A chain")
counts[:3]
