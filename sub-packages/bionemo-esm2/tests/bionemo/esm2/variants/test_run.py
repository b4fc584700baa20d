# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``score_variants_esm2`` from files to a folder: scores, order, numbering, chains, refusals, resume."""

import csv
import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from bionemo.core._config_parser import build_parser
from bionemo.core.errors import DataError
from bionemo.core.partitioned_output import FINISHED_NAME
from bionemo.core.resumable import PLAN_NAME
from bionemo.esm2 import ESM2
from bionemo.esm2.scripts.score_variants_esm2 import main
from bionemo.esm2.variants import run
from bionemo.esm2.variants.config import ScoreVariantsESM2Config
from bionemo.testing.kills import kill_runner


PRELOAD = ("bionemo.esm2.variants.run", "bionemo.testing.multiprocess", "pyarrow.parquet", "matplotlib.figure")
FLAGS = """
--version --config --debug --help -h
--data-path --sequence-column --id-column --variants-path --scan --no-scan --variant-column --protein-column
--chain-column --complex --linker-length --offset --on-bad-row --results-path --protocol --multi-mutants --window
--measured-column --auc-threshold --num-bootstraps --seed --tokens-per-batch --checkpoint-path --checkpoint
--accelerator
--num-gpus --devices --num-nodes --precision
"""


@pytest.fixture
def fasta(tmp_path, protein):
    path = tmp_path / "in.fasta"
    path.write_text(f">one\n{protein}\n>two\n{protein[20:32]}\n")
    return path


def arguments(oracle, data, results, *extra):
    paths = ("--checkpoint-path", oracle.checkpoint, "--data-path", data, "--results-path", results)
    return [*map(str, (*paths, "--accelerator", "cpu", *extra))]


def scores_of(folder):
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def values_of(folder):
    return [float(row["score"]) for row in scores_of(folder)]


def change(sequence, place, new):
    return f"{sequence[place]}{place + 1}{new}"


def test_flags_are_these():
    assert sorted(build_parser(ScoreVariantsESM2Config).flags) == sorted(FLAGS.split())


def test_a_scan_scores_every_substitution_of_every_protein(tmp_path, oracle, protein, fasta, monkeypatch, capsys):
    monkeypatch.setattr(run, "TOKENS_PER_PARTITION", 500)
    assert main(arguments(oracle, fasta, tmp_path / "out", "--scan", "--offset", "-100")) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    rows = scores_of(tmp_path / "out")
    assert [int(row["row"]) for row in rows] == list(range(19 * (60 + 12)))
    assert len({(row["protein"], row["mutant"]) for row in rows}) == len(rows)
    assert {row["protocol"] for row in rows} == {"masked-marginal"}
    by_name = {(row["protein"], row["mutant"]): float(row["score"]) for row in rows}
    for name, sequence in (("one", protein), ("two", protein[20:32])):
        for place in (0, 7, len(sequence) - 1):
            for new in set("AWK") - {sequence[place]}:
                text = f"{sequence[place]}{place + 101}{new}"
                assert by_name[name, text] == pytest.approx(oracle.marginal(sequence, place, new), abs=1e-4)
    maps = sorted(path.name for path in (tmp_path / "out/heatmaps").iterdir())
    assert maps == ["0000-one.html", "0000-one.png", "0001-two.html", "0001-two.png"]
    assert not list((tmp_path / "out").glob("partition*"))


def test_multi_mutants_indels_and_hgvs_in_input_order(tmp_path, oracle, protein, fasta):
    first, second = change(protein, 4, "W"), change(protein, 40, "W")
    deletion = f"p.{protein[9]}10del"
    insertion = f"{protein[2]}3_{protein[3]}4insGG"
    texts = [f"{second}:{first}", deletion, first, insertion, f"p.({first})", "WT"]
    table = tmp_path / "in.csv"
    table.write_text("mutant,protein\n" + "".join(f"{text},one\n" for text in texts))
    shorter = protein[:9] + protein[10:]
    longer = protein[:3] + "GG" + protein[3:]
    of_indels = [60 * (oracle.log_likelihood(s) - oracle.log_likelihood(protein)) for s in (shorter, longer)]
    singles = [oracle.marginal(protein, place, "W") for place in (4, 40)]
    together = oracle.masked(protein, 4, 40)
    columns = [[4 + "LAGVSERTIDPKQNFYMHWC".index(letter) for letter in ("W", protein[place])] for place in (4, 40)]
    joint = sum(row[new] - row[old] for row, (new, old) in zip(together, columns, strict=True))
    for mode, expected in (("additive", sum(singles)), ("joint", joint)):
        out = tmp_path / mode
        assert main(arguments(oracle, fasta, out, "--variants-path", table, "--multi-mutants", mode)) == 0
        rows = scores_of(out)
        assert [row["mutant"] for row in rows] == texts
        assert rows[0]["protocol"] == f"masked-marginal ({mode})"
        assert [row["protocol"] for row in rows[1:]] == [
            "pseudo-perplexity",
            *["masked-marginal"] * 1,
            "pseudo-perplexity",
            *["masked-marginal"] * 2,
        ]
        wanted = [expected, of_indels[0], singles[0], of_indels[1], singles[0], 0.0]
        np.testing.assert_allclose(values_of(out), wanted, atol=1e-3)
    assert abs(joint - sum(singles)) > 1e-2


@pytest.mark.parametrize("protocol", ["wild-type-marginal", "pseudo-perplexity"])
def test_the_other_protocols(tmp_path, oracle, protein, fasta, protocol):
    text = change(protein, 4, "W") + ":" + change(protein, 59, "A" if protein[59] != "A" else "G")
    table = tmp_path / "in.tsv"
    table.write_text(f"hgvs\tp\n{text}\tone\n")
    flags = ("--variants-path", table, "--variant-column", "hgvs", "--protein-column", "p", "--protocol", protocol)
    assert main(arguments(oracle, fasta, tmp_path / "out", *flags)) == 0
    mutant = protein[:4] + "W" + protein[5:59] + text[-1]
    if protocol == "pseudo-perplexity":
        expected = 60 * (oracle.log_likelihood(mutant) - oracle.log_likelihood(protein))
    else:
        ids = ["LAGVSERTIDPKQNFYMHWC".index(letter) + 4 for letter in protein]
        table_TV = oracle.log_probabilities([0, *ids, 2])[1:-1]
        new = ["LAGVSERTIDPKQNFYMHWC".index(mutant[place]) + 4 for place in (4, 59)]
        expected = sum(table_TV[p, n] - table_TV[p, ids[p]] for p, n in zip((4, 59), new, strict=True))
    assert values_of(tmp_path / "out")[0] == pytest.approx(expected, abs=1e-3)


def test_chains_of_a_complex_are_read_with_a_linker_and_numbered_each_by_itself(tmp_path, oracle, protein, fasta):
    two = protein[20:32]
    linked = protein + "G" * 5 + two
    texts = [(change(protein, 3, "W"), "one"), (f"{two[0]}31W", "two"), (f"{protein[3]}4W:{two[0]}31W", "one:two")]
    table = tmp_path / "in.csv"
    table.write_text("mutant,chain\n" + "".join(f"{text},{chain}\n" for text, chain in texts))
    flags = ("--complex", "one:two", "--linker-length", "5", "--variants-path", table)
    assert main(arguments(oracle, fasta, tmp_path / "out", *flags)) == 0
    singles = [oracle.marginal(linked, 3, "W"), oracle.marginal(linked, 65, "W")]
    np.testing.assert_allclose(values_of(tmp_path / "out"), [*singles, sum(singles)], atol=1e-4)
    frame = ESM2.from_pretrained(oracle.checkpoint).score_variants(
        [protein, two], [text for text, _ in texts], chains=["A", "B", "A:B"], linker_length=5
    )
    np.testing.assert_allclose(frame["score"], values_of(tmp_path / "out"), atol=1e-5)
    scanned = ESM2.from_pretrained(oracle.checkpoint).score_variants([protein, two], linker_length=5)
    assert scanned["chain"].value_counts().to_dict() == {"A": 19 * 60, "B": 19 * 12}
    assert main(arguments(oracle, fasta, tmp_path / "bad", *flags[:4], "--scan", "--complex", "one:three")) == 2


def test_the_numbering_is_inferred_and_bad_rows_are_listed(tmp_path, oracle, protein, fasta, capsys):
    good = [f"{protein[place]}{place + 24}W" for place in (0, 5, 9, 30) if protein[place] != "W"]
    wrong = next(letter for letter in "AGLV" if letter != protein[1])
    bad = [f"{wrong}25W", "P20*", "", f"{protein[0]}999W"]
    table = tmp_path / "in.csv"
    lines = [f"{text},one,{row}" for row, text in enumerate([*good, *bad])]
    table.write_text("\n".join(["mutant,protein,score", *lines, "A1G,three,1", f"{good[0]},one,high", ""]))
    flags = ("--variants-path", table, "--measured-column", "score")
    assert main(arguments(oracle, fasta, tmp_path / "out", *flags)) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"in.csv: row {len(good) + 1}: variant 'P20*': stop codons" in line
    assert (
        main(arguments(oracle, fasta, tmp_path / "out", *flags, "--on-bad-row", "skip", "--num-bootstraps", "9")) == 0
    )
    expected = [oracle.marginal(protein, int(text[1:-1]) - 24, "W") for text in good]
    np.testing.assert_allclose(values_of(tmp_path / "out"), expected, atol=1e-4)
    with (tmp_path / "out/rejected.csv").open(newline="") as file:
        rejected = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rejected] == [*range(len(good), len(good) + 6)]
    assert f"position 25 (offset -23: 2) is {protein[1]}, the variant says {wrong}" in rejected[0]["reason"]
    assert "no variant is given" in rejected[2]["reason"]
    assert "lies outside the sequence of 60 residues" in rejected[3]["reason"]
    assert "no wild type 'three', found one, two" in rejected[4]["reason"]
    assert "'high' is no number" in rejected[5]["reason"]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["one"]
    assert metrics["num_variants"] == len(good)
    assert set(metrics["spearman"]) == {"value", "low", "high"}
    given = ("--offset", "0", "--on-bad-row", "error", "--variants-path")
    (tmp_path / "shifted.csv").write_text("mutant,protein\n" + "".join(f"{text},one\n" for text in good))
    assert main(arguments(oracle, fasta, tmp_path / "no", *given, tmp_path / "shifted.csv")) == 2
    assert "--offset -23" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((), "give either --variants-path FILE or --scan"),
        (("--scan", "--variant-column", "x"), "--variant-column names a column"),
        (("--scan", "--window", "7"), "--window 7: must be 0"),
        (("--scan", "--offset", "3"), "--offset 3: a scan would write positions below 1"),
        (("--scan", "--num-bootstraps", "-1"), "--num-bootstraps -1: must be at least 0"),
        (
            ("--scan", "--protocol", "pseudo-perplexity", "--multi-mutants", "joint"),
            "--multi-mutants joint belongs to",
        ),
        (("--variants-path", "/nowhere.csv"), "/nowhere.csv: there is no such file"),
        (("--variants-path", "{}"), "no column mutant or mutation or variant, found a, b. Name one: --variant-column"),
        (("--variants-path", "{}", "--variant-column", "a"), "there are 2 wild types and no column names one"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_leaves_nothing(tmp_path, oracle, fasta, capsys, extra, message):
    (tmp_path / "t.csv").write_text("a,b\nP20L,x\n")
    flags = [part.format(tmp_path / "t.csv") for part in extra]
    assert main(arguments(oracle, fasta, tmp_path / "out", *flags)) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("score_variants_esm2: error: ")
    assert message in line
    assert {path.name for path in tmp_path.iterdir()} == {"in.fasta", "t.csv"}


def test_python_takes_one_protein_and_gives_a_table(oracle, protein):
    model = ESM2.from_pretrained(oracle.checkpoint)
    frame = model.score_variants(protein.lower(), [change(protein, 8, "W")])
    assert list(frame.columns) == ["mutant", "protocol", "score"]
    assert frame["score"][0] == pytest.approx(oracle.marginal(protein, 8, "W"), abs=1e-4)
    assert len(model.score_variants(protein)) == 19 * 60
    with pytest.raises(DataError, match="variants: row 0: variant 'A99G': position 99 lies outside"):
        model.score_variants(protein, ["A99G"], offset=0)
    with pytest.raises(DataError, match="chains has 1 entries"):
        model.score_variants([protein, protein], ["A1G", "A1G"], chains=["A"])


def score_all(args):
    torch.set_num_threads(1)  # in children as in this process: the last digits depend on the number of threads
    with mock.patch.object(run, "TOKENS_PER_PARTITION", 100):
        assert main(args) == 0


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in (PLAN_NAME, FINISHED_NAME))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_and_rerun_writes_the_same_bytes(tmp_path, oracle, protein, kills):
    (tmp_path / "in.fasta").write_text(f">two\n{protein[20:32]}\n")
    target = tmp_path / "out"
    table = tmp_path / "in.csv"
    rows = [f"{letter}{place + 1}W,{place}" for place, letter in enumerate(protein[20:32]) if letter != "W"]
    table.write_text("mutant,score\n" + "\n".join([*rows, f"{protein[20]}1del,3", "J3,1"]) + "\n")
    flags = ("--variants-path", table, "--measured-column", "score", "--on-bad-row", "skip", "--num-bootstraps", "9")
    score_arguments = arguments(oracle, tmp_path / "in.fasta", target, *flags)
    undisturbed: dict[str, bytes] = {}

    def check(kill):
        if not target.exists():
            return
        undisturbed.update({} if undisturbed else contents(target))
        assert contents(target) == undisturbed
        shutil.rmtree(target)

    kill_runner(score_all, score_arguments, check=check, kills=kills, preload=PRELOAD)
    score_all(score_arguments)  # what the last kill left is used
    assert contents(target) == undisturbed
    names = "config.yaml heatmaps/two.html heatmaps/two.png metrics.json rejected.csv scores.csv"
    assert sorted(undisturbed) == names.split()
