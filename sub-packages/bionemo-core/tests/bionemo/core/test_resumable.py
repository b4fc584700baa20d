# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import shutil
import time

import pytest

from bionemo.core.errors import ConfigError, DataError, DataFileError
from bionemo.core.files import is_leftover, write_text
from bionemo.core.resumable import discard_unfinished, resumable_directory, unfinished_plan
from bionemo.testing.kills import kill_runner


PLAN = {"input": "a.h5ad", "num_parts": 3}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_one_part_and_fail(path, error):
    with resumable_directory(path, PLAN) as folder:
        write_text(folder.part("a"), "1")
        raise error


def test_the_folder_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "out"
    with resumable_directory(target, PLAN) as folder:
        assert not target.exists()
        assert not folder.has("a")
        write_text(folder.part("a"), "1")
        assert folder.has("a")
    assert names(target) == ["a"]
    assert names(tmp_path / "deep") == ["out"]
    (tmp_path / "empty").mkdir()
    with resumable_directory(tmp_path / "empty", PLAN) as folder:
        write_text(folder.part("b"), "2")
    assert names(tmp_path / "empty") == ["b"]


def test_a_failed_run_goes_on_under_the_same_plan(tmp_path):
    with pytest.raises(RuntimeError, match="power"):
        write_one_part_and_fail(tmp_path / "out", RuntimeError("power"))
    assert names(tmp_path) == ["out.incomplete"]
    with (
        pytest.raises(ConfigError, match=r"holds unfinished work with other settings \(input\)"),
        resumable_directory(tmp_path / "out", PLAN | {"input": "b.h5ad"}),
    ):
        pass
    with resumable_directory(tmp_path / "out", PLAN) as folder:
        assert folder.has("a")
    assert names(tmp_path / "out") == ["a"]


def test_unfinished_work_can_be_looked_at_and_discarded(tmp_path):
    target = tmp_path / "out"
    assert unfinished_plan(target) == {}
    discard_unfinished(target)
    with pytest.raises(RuntimeError, match="power"):
        write_one_part_and_fail(target, RuntimeError("power"))
    assert unfinished_plan(target) == PLAN
    with (
        resumable_directory(target, PLAN),
        pytest.raises(DataFileError, match="another process is filling it"),
    ):
        discard_unfinished(target)
    with pytest.raises(RuntimeError, match="power"):
        write_one_part_and_fail(tmp_path / "other", RuntimeError("power"))
    discard_unfinished(tmp_path / "other")
    assert names(tmp_path) == ["out"]


def test_bad_input_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="negative counts"):
        write_one_part_and_fail(tmp_path / "out", DataError("negative counts"))
    assert names(tmp_path) == []


def test_what_is_in_the_way_stays(tmp_path):
    write_text(tmp_path / "full" / "mine", "1")
    write_text(tmp_path / "file", "1")
    for name in ("full", "file"):
        with pytest.raises(DataFileError, match="exists already"), resumable_directory(tmp_path / name, PLAN):
            pass
    write_text(tmp_path / "out.incomplete" / "mine", "1")
    with pytest.raises(ConfigError, match="holds files without a plan"), resumable_directory(tmp_path / "out", PLAN):
        pass
    assert names(tmp_path) == ["file", "full", "out.incomplete"]
    assert names(tmp_path / "out.incomplete") == ["mine"]


def test_two_processes_do_not_fill_one_folder(tmp_path):
    with (
        resumable_directory(tmp_path / "out", PLAN),
        pytest.raises(DataFileError, match="another process is filling it"),
        resumable_directory(tmp_path / "out", PLAN),
    ):
        pass


def fill(path):
    with resumable_directory(path, PLAN) as folder:
        for part in range(40):
            if not folder.has(f"part{part}"):
                write_text(folder.part(f"part{part}"), f"{part}\n" * 1000)
                time.sleep(0.002)


def test_kills_never_show_half_a_folder(tmp_path):
    target = tmp_path / "out"
    parts_seen = []

    def check(kill):
        if target.exists():  # killed after the rename, the plan may still be there
            assert set(names(target)) - {"plan.json"} == {f"part{part}" for part in range(40)}
            shutil.rmtree(target)
            return
        parts = [path for path in (tmp_path / "out.incomplete").glob("part*") if not is_leftover(path)]
        assert all(path.read_text() == f"{path.name[4:]}\n" * 1000 for path in parts)
        parts_seen.append(len(parts))

    kill_runner(fill, target, check=check)  # each run goes on where the one before was killed
    assert parts_seen
    assert parts_seen != [0] * len(parts_seen)
