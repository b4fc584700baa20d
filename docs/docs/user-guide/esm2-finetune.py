# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # ESM-2: fine-tune on labels of residues
#
# `finetune_esm2` puts a head on a pretrained ESM-2 and learns labels of proteins or of their residues;
# `predict_esm2` predicts them for other proteins. This page pretrains a small ESM-2 in a minute or two of CPU and
# teaches it secondary structure. It runs without any download. For proteins of your own take a published model instead
# of the one trained here: `--restore-from-checkpoint-path facebook/esm2_t6_8M_UR50D`.

# %% [markdown]
# ## 1. Labeled proteins
#
# Designed proteins, so that the truth is known: helices with a hydrophobic residue at every third or fourth place,
# strands in which hydrophobic and polar residues alternate, and loops. Single residues say little about their
# structure; their neighbors say more. A row of the table holds a sequence and a character for each of its residues:
# `H` helix, `E` strand, `~` the rest.
#
# With `TUTORIAL_STRUCTURES` and `TUTORIAL_PROTEINS` the page runs on files of your own: a CSV file with the columns
# `sequence` and `secondary_structure`, and the FASTA file to pretrain on.

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd


HYDROPHOBIC, POLAR, LOOP = "LIVFMAW", "EKRDQSTN", "GNPDSTKE"
rng = np.random.default_rng(0)


def segment(state: str, length: int) -> str:
    start = int(rng.integers(4))
    letters = []
    for place in range(length):
        if state == "H":
            buried = (place + start) % 7 in (0, 3, 4)
        else:
            buried = (place + start) % 2 == 0
        pool = LOOP if state == "~" else HYDROPHOBIC if buried else POLAR
        letters.append(rng.choice(list(pool if rng.random() < 0.85 else HYDROPHOBIC + POLAR)))
    return "".join(letters)


def protein() -> tuple[str, str]:
    sequence, states, state = "", "", "~"
    while len(sequence) < 60:
        length = int(rng.integers(*{"H": (9, 18), "E": (5, 9), "~": (3, 8)}[state]))
        sequence, states = sequence + segment(state, length), states + state * length
        state = str(rng.choice(["H", "E"])) if state == "~" else "~"
    return sequence, states


if "TUTORIAL_STRUCTURES" in os.environ:
    table, proteins = pd.read_csv(os.environ["TUTORIAL_STRUCTURES"]), Path(os.environ["TUTORIAL_PROTEINS"])
    three_states = str.maketrans("GIBTS", "HHE~~")
    table["secondary_structure"] = table["secondary_structure"].str.translate(three_states)
else:
    table = pd.DataFrame([protein() for _ in range(300)], columns=["sequence", "secondary_structure"])
    proteins = Path("proteins.fasta")
    proteins.write_text("".join(f">p{number}\n{protein()[0]}\n" for number in range(1000)))
table.to_csv("structures.csv", index=False)
print(len(table), "proteins,", table["sequence"].str.len().sum(), "labeled residues")

# %% [markdown]
# ## 2. Pretrain
#
# The commands are called from Python here, as `main([...])`; in a shell the same words follow the command's name.

# %%
import contextlib
import io

from bionemo.esm2.scripts.train_esm2 import main as train_esm2


steps = os.environ.get("TUTORIAL_STEPS", "100")
size = "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --ffn-hidden-size 128 --max-seq-length 512".split()
run = f"--num-steps {steps} --tokens-per-batch 2048 --lr 3e-3 --accelerator cpu --experiment-name pretrained".split()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    status = train_esm2(["--train-fasta", str(proteins), *size, *run, "--val-check-interval", steps])
status

# %% [markdown]
# ## 3. Fine-tune
#
# ```bash
# finetune_esm2 --restore-from-checkpoint-path results/pretrained --train-data-path structures.csv \
#     --label-column secondary_structure --level residue --task-type classification --split cluster
# ```
#
# `--split cluster` holds out a fifth of the proteins in whole clusters of similar sequences, so that no relative of a
# held-out protein is trained on. All weights are trained here; `--lora-finetune` trains low-rank adapters of a frozen
# encoder instead, `--encoder-frozen` the head alone. Where chains are long, `--crop-length 128` trains on a random
# window of each in every epoch: the time of attention grows with the square of the length.

# %%
from bionemo.esm2.scripts.finetune_esm2 import main as finetune_esm2


epochs = os.environ.get("TUTORIAL_EPOCHS", "4")
data = "--train-data-path structures.csv --label-column secondary_structure --level residue".split()
task = f"--task-type classification --split cluster --num-epochs {epochs} --lr 2e-3 --accelerator cpu".split()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    status = finetune_esm2(["--restore-from-checkpoint-path", "results/pretrained", *data, *task])
status

# %% [markdown]
# ## 4. What was held out
#
# The run's folder holds the model, `metrics.csv`, `loss.png`, and of the held-out proteins `predictions.csv`,
# `scores.json` and pictures. The simplest guess is the most frequent state of each amino acid.

# %%
import json


scores = json.loads(Path("results/esm2-finetune/scores.json").read_text())["secondary_structure"]
predicted = pd.read_csv("results/esm2-finetune/predictions.csv")
held_out = table.iloc[predicted["row"]]
training = table.drop(index=held_out.index)
counts = pd.crosstab(list("".join(training["sequence"])), list("".join(training["secondary_structure"])))
guess = counts.idxmax(axis=1)
right = [
    guess[a] == b for a, b in zip("".join(held_out["sequence"]), "".join(held_out["secondary_structure"]), strict=True)
]
print(f"accuracy {scores['accuracy']:.3f}, most frequent state of each amino acid {np.mean(right):.3f}")

# %%
import matplotlib.pyplot as plt


figure, axes = plt.subplots(figsize=(5.4, 4.6), layout="constrained")
axes.imshow(plt.imread("results/esm2-finetune/confusion.png"))
_ = axes.axis("off")
# %% [markdown]
# On real data: three states of 1,600 chains of the PDB (DSSP labels of a public fine-tuning sample), 320 of them held
# out in whole clusters. A model of four layers and hidden size 192, trained for 300 steps on 9,000 UniRef90 proteins,
# was fine-tuned for two epochs with `--crop-length 128 --micro-batch-size 8 --lr 2e-3`. `benchmarks/esm2_finetune.py`
# does it all; CPU time includes reading, clusters and predictions:
#
# | | accuracy, 320 held-out chains | CPU time |
# |---|---|---|
# | three states, most frequent one of each amino acid | 0.462 | |
# | three states, all weights fine-tuned | 0.630 | 151 s |
# | three states, low-rank adapters (`--lora-finetune --lr 3e-3`) | 0.650 | 150 s |
# | eight states, most frequent one of each amino acid | 0.329 | |
# | eight states, all weights fine-tuned | 0.496 | 145 s |
# | eight states, low-rank adapters | 0.508 | 153 s |
#
# The same model on the fitness of 5,198 single mutants of beta-lactamase (UniProt P62593), Spearman's correlation of
# the predictions of five folds:
#
# | | random folds | folds by position modulo 5 |
# |---|---|---|
# | ridge regression, one-hot residues | 0.747 | -0.069 |
# | ridge regression, one-hot residues and mean embeddings | 0.770 | 0.205 |
# | all weights fine-tuned (`--full-steps 150`, 600 CPU-seconds for five folds) | 0.281 | 0.201 |
#
# Where each position was seen in training, most of the signal is in the position, which one-hot residues name: there
# ridge regression is far better than fine-tuning, whose head reads the mean over 286 residues, of which one differs.
# On new positions only the embedding carries over, and both are alike. Fine-tuning saw 1,200 of each fold's 4,158
# mutants once.
#
# Torch 2.13, float32, one thread of a shared CPU, November 2026.
#
# ![True and predicted states of held-out chains](../assets/images/esm2-structure-confusion.png)
#
# *Source of the labels: Protein Data Bank, DSSP; the picture is `confusion.png` of the run of all weights.*

# %% [markdown]
# ## 5. Predict
#
# ```bash
# predict_esm2 --checkpoint-path results/esm2-finetune --data-path others.fasta --results-path predictions
# ```
#
# or from Python:

# %%
from bionemo.esm2 import FinetunedESM2


model = FinetunedESM2.from_pretrained("results/esm2-finetune", device="cpu")
sequence, states = held_out.iloc[0]
print(sequence[:70])
print(states[:70], "  true")
print("".join(model.predict(sequence)[0])[:70], "  predicted")
