# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One report of data sets in three forms; figures that can be computed otherwise are."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.esm2 import ESM2
from bionemo.esm2.api import build_esm2, load_esm2, save_esm2
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.esm2.evaluation.blosum import BLOSUM62, ORDER
from bionemo.esm2.model.model import ESM2Config
from bionemo.esm2.scripts.evaluate_esm2 import main


LETTERS = "ACDEFGHIKLMNPQRSTVWY"
WILD_TYPE = "MKTAYIAKQRQISFVKSHFSRQ"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ESM2Config(num_layers=2, hidden_size=32, num_attention_heads=4, ffn_hidden_size=48, init_method_std=0.1)
    folder = tmp_path_factory.mktemp("esm2") / "model"
    save_esm2(build_esm2(config, seed=3), folder)
    return folder


def write(path: Path, header: str, rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split())
        writer.writerows(rows)


def test_the_report_holds_three_kinds_of_data_and_their_baselines(model: Path, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    proteins = ["".join(rng.choice(list(LETTERS), int(rng.integers(20, 40)))) for _ in range(60)]
    states = ["".join("H" if letter in "AEKLMQR" else "~" for letter in one) for one in proteins]
    sets = ["test" if number % 4 == 0 else "train" for number in range(60)]
    write(
        data / "structure.csv", "sequence 3state set", [list(row) for row in zip(proteins, states, sets, strict=True)]
    )
    values = [one.count("K") / len(one) for one in proteins]
    write(data / "charge.csv", "sequence target set validation", [
        [one, value, split, "False"] for one, value, split in zip(proteins, values, sets, strict=True)
    ])  # fmt: skip
    variants, scores = [], []
    for place, old in enumerate(WILD_TYPE):
        for new in rng.choice([letter for letter in LETTERS if letter != old], 5, replace=False):
            variants.append(f"{old}{place + 21}{new}")
            scores.append(BLOSUM62[old, new] - BLOSUM62[old, old] + 0.1 * rng.normal())
    mutated = [WILD_TYPE[: int(v[1:-1]) - 21] + v[-1] + WILD_TYPE[int(v[1:-1]) - 20 :] for v in variants]
    write(
        data / "assay.csv",
        "mutant mutated_sequence DMS_score",
        [list(x) for x in zip(variants, mutated, scores, strict=True)],
    )
    (data / "notes.csv").write_text("a,b\n1,2\n")

    arguments = ["--checkpoint-path", str(model), "--data-path", str(data), "--accelerator", "cpu"]
    assert main([*arguments, "--results-path", str(tmp_path / "report")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report" / "report.md")
    assert (tmp_path / "report" / "scores.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    found = {
        (result["dataset"], score["method"]): score["value"]
        for result in report["results"]
        for score in result["scores"]
    }
    assert {name for name, _ in found} == {"assay", "charge", "structure"}
    # States are a function of the letter: the majority is always right, embeddings nearly.
    assert found["structure", "majority by amino acid"] == 1.0
    assert found["structure", "linear probe of embeddings"] > 0.9
    assert found["charge", "ridge on composition"] > 0.9
    assert found["assay", "BLOSUM62, no labels"] > 0.95
    # The model's own score, computed here: each position masked alone.
    plain, ids = load_esm2(model), get_tokenizer()([WILD_TYPE], return_tensors="pt")["input_ids"]
    own = []
    for variant in variants:
        masked = ids.clone()
        masked[0, int(variant[1:-1]) - 20] = 32
        with torch.no_grad():
            log_p = plain(masked).token_logits[0, int(variant[1:-1]) - 20].log_softmax(0)
        old, new = get_tokenizer().encode(variant[0] + variant[-1])[1:-1]
        own.append(float(log_p[new] - log_p[old]))
    stats = pytest.importorskip("scipy.stats")
    expected = stats.spearmanr(own, scores).statistic
    assert found["assay", "masked marginals, no labels"] == pytest.approx(expected, abs=1e-3)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| majority by amino acid (baseline) | accuracy | **1.0000** |" in text
    assert Counter(line.split(":")[0] for line in text.splitlines() if line.startswith("## "))["## assay"] == 1
    assert main([*arguments, "--results-path", str(tmp_path / "report")]) != 0
    assert "report" in capsys.readouterr().err


def test_structures_of_a_folder_are_a_set_of_contacts(model: Path, tmp_path: Path) -> None:
    gemmi = pytest.importorskip("gemmi")
    sequence = "".join(np.random.default_rng(0).choice(list(LETTERS), 60))
    chain, folder = gemmi.Chain("A"), tmp_path / "chains"
    for place, letter in enumerate(sequence):  # a hairpin: i and 59 - i are 5 Å apart, neighbors 3 Å
        residue = gemmi.Residue()
        residue.name, residue.seqid = (
            gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA),
            gemmi.SeqId(place + 1, " "),
        )
        residue.entity_type = gemmi.EntityType.Polymer
        for name in ("CA", "CB"):
            atom = gemmi.Atom()
            atom.name, atom.element = name, gemmi.Element("C")
            atom.pos = gemmi.Position(3.0 * min(place, 59 - place), 5.0 * (place >= 30), 0.0)
            residue.add_atom(atom)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model(1))
    structure[0].add_chain(chain)
    structure.setup_entities()
    folder.mkdir()
    (folder / "hairpin.pdb").write_text(structure.make_pdb_string())
    arguments = ["--checkpoint-path", str(model), "--data-path", str(folder), "--accelerator", "cpu"]
    assert main([*arguments, "--results-path", str(tmp_path / "report")]) == 0
    results = json.loads((tmp_path / "report" / "report.json").read_text())["results"]
    found = {result["task"].split()[-1]: {s["method"]: s["value"] for s in result["scores"]} for result in results}
    # Within 8 Å are i + j of 57 to 61. Of the pairs 24 apart these are two, of those 25 apart three.
    baseline = {top: values.pop("nearest in the sequence") for top, values in found.items()}
    assert baseline == {"L": pytest.approx(5 / 60), "L/2": pytest.approx(2 / 30), "L/5": 0.0}
    predicted = ESM2.from_pretrained(model, device="cpu").predict_contacts(sequence)
    pairs = sorted((-predicted[i, j], i, j) for i in range(60) for j in range(i + 24, 60))
    for top, number in (("L", 60), ("L/2", 30), ("L/5", 12)):
        expected = np.mean([57 <= i + j <= 61 for _, i, j in pairs[:number]])
        assert found[top] == {"contacts by jacobian": pytest.approx(expected)}


def test_no_data_set_is_one_line(model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    arguments = ["--checkpoint-path", str(model), "--results-path", str(tmp_path / "out"), "--accelerator", "cpu"]
    assert main([*arguments, "--data-path", str(tmp_path)]) == 2
    assert "no data set of a known form" in capsys.readouterr().err
    assert main([*arguments, "--data-path", "/nowhere"]) == 2
    assert not (tmp_path / "out").exists()


def test_blosum62_is_the_published_matrix() -> None:
    assert all(BLOSUM62[a, b] == BLOSUM62[b, a] for a in ORDER for b in ORDER)
    # Sums of rows, compared once with the matrix that Biopython 1.88 ships.
    assert [sum(BLOSUM62[a, b] for b in ORDER) for a in "AWCP"] == [-16, -32, -31, -32]
    matrices = pytest.importorskip("Bio.Align.substitution_matrices")
    matrix = matrices.load("BLOSUM62")
    assert all(matrix[a][b] == BLOSUM62[a, b] for a in ORDER for b in ORDER)
