# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Partitioned results: ranks, streams, kills."""

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bionemo.core import partitioned_output as module
from bionemo.core.errors import ConfigError, DataError
from bionemo.core.partitioned_output import PartitionedOutput, partitioned_output, partitions_of
from bionemo.testing.kills import Kill, kill_runner


NUMBERS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
FINGERPRINT = {"numbers": 11}


@dataclass
class Ranks:
    """Threads as ranks."""

    rank: int
    world_size: int
    waiting: threading.Barrier

    def barrier(self) -> None:
        self.waiting.wait(timeout=20)


def stream() -> Iterator[list[int]]:
    yield from partitions_of(iter(NUMBERS), size=int, max_size=9, max_records=3)


def write_squares(numbers: list[int], folder: Path) -> None:
    (folder / "squares.txt").write_text("".join(f"{number**2}\n" for number in numbers))
    (folder / "count.txt").write_text(f"{len(numbers)}\n")


def join_texts(paths: list[Path], file) -> None:
    for path in paths:
        file.write(path.read_bytes())


def finish(output: PartitionedOutput) -> None:
    if output.is_main:
        output.join("squares.txt", join_texts)
        output.keep("count.txt", lambda number, total: f"counts/{number + 1}-of-{total}.txt")
        output.remove_partitions()


def run(path: Path, ranks: Ranks | None = None, *, partitions=None, write=write_squares) -> None:
    with partitioned_output(path, FINGERPRINT, ranks) as output:
        output.compute(stream() if partitions is None else partitions, write)
        finish(output)


def content(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, str]:
    run(tmp_path / "expected")
    found = content(tmp_path / "expected")
    shutil.rmtree(tmp_path / "expected")
    return found


def test_records_are_cut_by_size_and_number() -> None:
    assert list(stream()) == [[3, 1, 4], [1, 5], [9], [2, 6], [5, 3], [5]]
    assert list(partitions_of([7], size=int, max_size=1)) == [[7]]
    assert list(partitions_of([], size=int, max_size=1)) == []


def test_result_holds_all_records_in_order_and_nothing_else(expected: dict[str, str], tmp_path: Path) -> None:
    assert expected["squares.txt"] == "".join(f"{number**2}\n" for number in NUMBERS)
    assert {name: expected[name] for name in expected if name != "squares.txt"} == {
        f"counts/{number + 1}-of-6.txt": f"{count}\n" for number, count in enumerate([3, 2, 1, 2, 2, 1])
    }
    run(tmp_path / "list", partitions=list(stream()))
    assert content(tmp_path / "list") == expected


def run_ranks(path: Path, world_size: int, write=write_squares) -> None:
    waiting = threading.Barrier(world_size)
    errors: list[BaseException] = []

    def target(rank: int) -> None:
        try:
            run(path, Ranks(rank, world_size, waiting), write=write)
        except BaseException as error:
            errors.append(error)
            waiting.abort()
            raise

    threads = [threading.Thread(target=target, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not errors


def test_three_ranks_write_the_same_result(expected: dict[str, str], tmp_path: Path) -> None:
    run_ranks(tmp_path / "out", 3)
    assert content(tmp_path / "out") == expected


def test_failed_run_resumes_on_another_number_of_ranks(expected: dict[str, str], tmp_path: Path) -> None:
    computed: list[list[int]] = []
    fails = True

    def write(numbers: list[int], folder: Path) -> None:
        write_squares(numbers, folder)
        if fails and numbers == [2, 6]:
            raise RuntimeError("power cut")
        computed.append(numbers)

    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "out", write=write)
    assert computed == [[3, 1, 4], [1, 5], [9]]
    fails = False
    run_ranks(tmp_path / "out", 2, write)
    assert content(tmp_path / "out") == expected
    assert sorted(computed[3:]) == [[2, 6], [5], [5, 3]]


def test_a_run_killed_after_its_last_partition_reads_the_records_again(tmp_path: Path) -> None:
    read: list[list[int]] = []

    def reported() -> Iterator[list[int]]:
        for part in stream():
            read.append(part)
            yield part

    def interrupted() -> None:
        with partitioned_output(tmp_path / "out", FINGERPRINT) as output:
            output.compute(reported(), write_squares)
            output.remove_partitions()
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        interrupted()
    read.clear()
    with partitioned_output(tmp_path / "out", FINGERPRINT) as output:
        output.compute(reported(), lambda numbers, folder: pytest.fail("is computed again"))
    assert read == list(stream())


def test_other_fingerprint_and_empty_input_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "out", write=lambda numbers, folder: 1 // 0)
    with pytest.raises(ConfigError, match=r"unfinished work with other settings \(numbers\)"):
        with partitioned_output(tmp_path / "out", {"numbers": 12}):
            pass
    with pytest.raises(DataError, match="empty: the input is empty, there is nothing to compute"):
        run(tmp_path / "empty", partitions=iter([]))
    assert [path.name for path in tmp_path.iterdir()] == ["out.incomplete"]


def run_slowly(path: Path) -> None:
    def write(numbers: list[int], folder: Path) -> None:
        write_squares(numbers, folder)
        with (path.parent / "computed.txt").open("a") as file:
            file.write(f"{numbers}\n")
        time.sleep(0.01)

    with partitioned_output(path, FINGERPRINT) as output:
        output.compute(stream(), write)
        finish(output)


@pytest.mark.parametrize("kills", [None, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_run_is_resumed_and_loses_one_partition_at_most(
    kills: int | None, expected: dict[str, str], tmp_path: Path
) -> None:
    target, log = tmp_path / "out", tmp_path / "computed.txt"
    landed: list[int] = []

    def check(kill: Kill) -> None:
        if kill.landed:
            landed.append(kill.index)
            if not target.exists():
                run_slowly(target)
        found = content(target)
        found.pop(module.FINISHED_NAME, None)  # killed between the last two system calls
        found.pop("plan.json", None)
        assert found == expected
        assert len(log.read_text().splitlines()) <= 6 + 1

    def prepare() -> None:
        for path in (target, tmp_path / "out.incomplete"):
            shutil.rmtree(path, ignore_errors=True)
        log.unlink(missing_ok=True)

    kill_runner(run_slowly, target, check=check, prepare=prepare, kills=kills, preload=("pytest",))
    assert landed


def test_a_partition_is_calculated_while_the_one_before_is_written(tmp_path: Path, expected: dict[str, str]) -> None:
    begun = threading.Semaphore(0)
    num_partitions = len(list(stream()))

    def calculate(numbers: list[int]) -> list[int]:
        begun.release()
        return [number**2 for number in numbers]

    def write(numbers: list[int], squares: list[int], folder: Path) -> None:
        if len(written) < num_partitions - 1:
            assert begun.acquire(timeout=20)  # its own
            assert begun.acquire(timeout=20)  # the next one's
            begun.release()
        assert squares == [number**2 for number in numbers]
        written.append(threading.get_ident())
        write_squares(numbers, folder)

    written: list[int] = []
    with partitioned_output(tmp_path / "out", FINGERPRINT) as output:
        output.compute(stream(), write, calculate=calculate)
        finish(output)
    assert content(tmp_path / "out") == expected
    assert threading.get_ident() not in written


@pytest.mark.parametrize("broken", ["calculate", "write", "stream", "last write"])
def test_an_error_of_any_thread_ends_the_run(tmp_path: Path, broken: str) -> None:
    parts = list(stream())
    failing = parts[2] if broken != "last write" else parts[-1]

    def fail(name: str, part: list[int]) -> None:
        if broken.endswith(name) and part == failing:
            raise OSError("no space left")

    def numbers() -> Iterator[list[int]]:
        for part in stream():
            fail("stream", part)
            yield part

    def write(numbers: list[int], result: int, folder: Path) -> None:
        fail("write", numbers)
        write_squares(numbers, folder)

    with pytest.raises(OSError, match="no space left"), partitioned_output(tmp_path / "out", FINGERPRINT) as output:
        output.compute(numbers(), write, calculate=lambda part: fail("calculate", part))
    kept = sorted(path.name for path in (tmp_path / "out.incomplete").glob("partition-*"))
    assert kept[:2] == ["partition-000000", "partition-000001"]
    assert f"partition-{parts.index(failing):06d}" not in kept
