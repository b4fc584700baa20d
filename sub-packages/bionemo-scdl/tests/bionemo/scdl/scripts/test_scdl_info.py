# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from bionemo.scdl.scripts.scdl_info import main


def test_table(make_archive, capsys):
    dataset = make_archive()
    assert main([str(dataset.data_path)]) == 0
    shown = capsys.readouterr().out
    for line in ("rows            4", "genes           5", "stored values   6", "sparsity        0.7"):
        assert line in shown
    assert "values float32, columns uint8, row_pointers uint8" in shown
    assert "sizes agree with the header" in shown


def test_json_and_verification(make_archive, capsys):
    dataset = make_archive()
    assert main([str(dataset.data_path), "--json", "--verify"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["rows"] == 4
    assert about["obs_columns"] == ["obs_feature_id"]
    assert about["integrity"].startswith("verified")


def test_damage_is_named_and_fails(make_archive, capsys):
    dataset = make_archive()
    path = dataset.data_path / "data.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert main([str(dataset.data_path)]) == 0
    capsys.readouterr()
    assert main([str(dataset.data_path), "--verify"]) == 2
    assert f"{path}: the content differs" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["--verify"]])
def test_no_archive(tmp_path, capsys, flags):
    assert main([str(tmp_path / "nope"), *flags]) == 2
    assert "no such archive. Make one with the command convert_h5ad_to_scdl" in capsys.readouterr().err
