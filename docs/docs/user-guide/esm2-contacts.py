# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # ESM-2: predict contacts
#
# `contacts_esm2` predicts which residues of a protein touch, and measures the prediction against a structure. This
# page trains a small ESM-2 on a protein family in a minute or two of CPU and finds the contacts of a member from what
# the model has learned. It runs without any download. A published model brings its own contact head:
# `--checkpoint-path facebook/esm2_t33_650M_UR50D`.
#
# Structures are read by `gemmi`, a single package without dependencies: the extra `[structure]` of `bionemo-esm2`.

# %% [markdown]
# ## 1. A family and its structure
#
# A designed family, so that the truth is known: two parallel strands of twelve residues, 5 Å apart, and a loop. In
# every member each pair of neighbors fits by charge or by size; which combination it is changes from member to member.
# The structure is written as a PDB file of beta carbons.

# %%
import contextlib
import io
import os
from pathlib import Path

import numpy as np


STRAND, SHIFT = 12, 18
FITTING = ["KE", "EK", "RD", "DR", "VI", "IV", "LF", "FL"]
rng = np.random.default_rng(0)
preferred = [rng.permutation(len(FITTING))[:4] for _ in range(STRAND)]


def member() -> str:
    pairs = [FITTING[rng.choice(pair)] for pair in preferred]
    loop = rng.choice(list("GSNDPT"), SHIFT - STRAND)
    return "".join([*(pair[0] for pair in pairs), *loop, *(pair[1] for pair in pairs)])


members = sorted({member() for _ in range(4000)})
Path("family.fasta").write_text("".join(f">member{number}\n{one}\n" for number, one in enumerate(members)))
Path("member0.fasta").write_text(f">member0\n{members[0]}\n")
three = dict(zip("KERDVILFGSNPT", "LYS GLU ARG ASP VAL ILE LEU PHE GLY SER ASN PRO THR".split(), strict=True))
lines = []
for place, letter in enumerate(members[0]):
    if place < STRAND:
        x, y, z = 0.0, 0.0, 3.4 * place
    elif place < SHIFT:
        x, y, z = 20.0 + 7 * (place % 2), 10.0, 42.0 - 8 * (place - STRAND)
    else:
        x, y, z = 5.0, 0.0, 3.4 * (place - SHIFT)
    atom = "CA" if letter == "G" else "CB"
    number = place + 1
    lines.append(
        f"ATOM  {number:5}  {atom}  {three[letter]} A{number:4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
    )
Path("member0.pdb").write_text("\n".join([*lines, "END", ""]))
len(members), len(members[0])

# %% [markdown]
# ## 2. Train

# %%
from bionemo.esm2.scripts.train_esm2 import main as train_esm2


steps = os.environ.get("TUTORIAL_STEPS", "500")
size = "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --ffn-hidden-size 128 --max-seq-length 64".split()
run = f"--num-steps {steps} --tokens-per-batch 2048 --lr 3e-3 --accelerator cpu --experiment-name family".split()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    status = train_esm2(["--train-fasta", "family.fasta", *size, *run, "--val-check-interval", steps])
print("exit code", status)

# %% [markdown]
# ## 3. Predict and compare
#
# ```bash
# contacts_esm2 --checkpoint-path results/family/checkpoints/last --data-path member0.fasta \
#     --structure-path member0.pdb --results-path contacts
# ```
#
# Nobody has fitted a contact head to this model, so that the command takes the categorical Jacobian: how much each
# replacement of a residue changes the model's predictions at every other. With a published model it takes the model's
# own regression over attention maps, as `predict_contacts` of `transformers` does.

# %%
import pandas as pd

from bionemo.esm2.scripts.contacts_esm2 import main as contacts_esm2


model = "results/family/checkpoints/last"
flags = ["--checkpoint-path", model, "--data-path", "member0.fasta", "--accelerator", "cpu"]
contacts_esm2([*flags, "--structure-path", "member0.pdb", "--results-path", "contacts"])
table = pd.read_csv("contacts/precision.csv")
table[table["range"] == "all"]

# %% [markdown]
# `precision` is the share of true contacts (beta carbons closer than 8 Å) among the strongest L, L/2 and L/5 pairs
# that are at least 6 residues apart, L the residues that the structure shows.

# %%
import matplotlib.image
import matplotlib.pyplot as plt


figure, ax = plt.subplots(figsize=(6, 5))
ax.imshow(matplotlib.image.imread("contacts/00000-member0.png"))
ax.axis("off")
figure.tight_layout()

# %% [markdown]
# The map itself is a NumPy file; the strongest pair of every residue of the first strand is its neighbor:

# %%
found = np.load("contacts/00000-member0.npz")
strongest = found["contacts"][:STRAND, STRAND:].argmax(axis=1) + STRAND - np.arange(STRAND)
print(found["method"], (strongest == SHIFT).sum(), "of", STRAND, "residues point at their neighbor")

# %% [markdown]
# From Python: `ESM2.from_pretrained(model).predict_contacts(sequence)` returns the map.
