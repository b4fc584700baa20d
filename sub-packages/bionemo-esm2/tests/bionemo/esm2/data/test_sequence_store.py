# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys

import numpy as np
import pytest

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.esm2.data import array_files
from bionemo.esm2.data.array_files import sorted_by_key
from bionemo.esm2.data.fasta import read_fasta
from bionemo.esm2.data.sequence_store import SequenceStore
from bionemo.esm2.data.sequence_store_writer import build_store, open_or_build_store


RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWYX"))


def _write_fasta(path, num=200, seed=0):
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for idx in range(num):
            sequence = "".join(rng.choice(RESIDUES, rng.integers(1, 90)))
            file.write(f">protein_{idx} text\n{sequence}\n")
    return path


@pytest.fixture(scope="module")
def fasta_path(tmp_path_factory):
    return _write_fasta(tmp_path_factory.mktemp("fasta") / "in.fasta")


@pytest.fixture
def store(fasta_path, tmp_path):
    return build_store(fasta_path, tmp_path / "store")


def test_nothing_is_lost_or_changed(fasta_path, store):
    records = list(read_fasta(fasta_path))
    assert len(store) == len(records) == 200
    assert [store.id(idx) for idx in range(200)] == [record.id for record in records]
    assert [store.sequence(idx) for idx in range(200)] == [record.sequence for record in records]
    np.testing.assert_array_equal(store.lengths, [len(record.sequence) + 2 for record in records])
    np.testing.assert_array_equal(store.lengths_of(np.array([7, 3])), store.lengths[[7, 3]])
    assert store.header["max_length"] == store.lengths.max()
    assert (store.tokens.dtype, store.offsets.dtype) == (np.uint8, np.int64)
    first = store.gather(np.array([0]))
    assert (first[0], first[-1]) == (0, 2)


def test_windows(store):
    whole = store.gather(np.array([5, 2, 5]))
    np.testing.assert_array_equal(
        whole, np.concatenate([store.tokens[store.offsets[i] : store.offsets[i + 1]] for i in (5, 2, 5)])
    )
    lengths = store.lengths[[5, 2]]
    part = store.gather(np.array([5, 2]), starts=np.array([1, 0]), lengths=lengths - 1)
    np.testing.assert_array_equal(part, np.concatenate([whole[1 : lengths[0]], whole[lengths[0] : lengths.sum() - 1]]))
    assert store.gather(np.empty(0, dtype=np.int64)).shape == (0,)
    with pytest.raises(DataError, match="tokens 0 to 999 of sequence 2 were asked for"):
        store.gather(np.array([2]), lengths=np.array([999]))
    with pytest.raises(DataError, match="tokens -1 to 1 of sequence 2"):
        store.gather(np.array([2]), starts=np.array([-1]), lengths=np.array([2]))
    with pytest.raises(IndexError, match="sequence 200 is out of range"):
        store.id(200)


def test_ids_are_found(store):
    order = np.random.default_rng(1).permutation(200)
    np.testing.assert_array_equal(store.find([f"protein_{idx}" for idx in order]), order)
    assert store.find(["nobody", "protein_9"]).tolist() == [-1, 9]


def _tokens_in_child(store):
    return store.gather(np.arange(3)).tolist()


def test_a_store_travels_as_its_path_and_through_a_fork(store):
    assert len(pickle.dumps(store)) < 500
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 our own bytes
    np.testing.assert_array_equal(copy.tokens, store.tokens)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_tokens_in_child, (store,)) == _tokens_in_child(store)


def test_a_store_is_reused_until_its_source_changes(tmp_path, caplog):
    caplog.set_level("INFO")
    path, folder = _write_fasta(tmp_path / "in.fasta"), tmp_path / "store"
    first = open_or_build_store(path, folder)
    inode = folder.stat().st_ino
    assert open_or_build_store(path, folder).header == first.header
    assert folder.stat().st_ino == inode
    assert "reusing the sequence store" in caplog.text
    _write_fasta(path, num=30, seed=5)
    assert len(open_or_build_store(path, folder)) == 30
    assert "has changed" in caplog.text
    assert len(open_or_build_store(folder, tmp_path / "unused")) == 30  # a store stands for itself
    assert not (tmp_path / "unused").exists()
    assert len(first) == len(first.lengths) == 200  # the maps of the replaced store stay readable


def test_another_policy_builds_another_store(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text(">a\nMJK\n")
    open_or_build_store(path, tmp_path / "store", on_illegal="unk")
    with pytest.raises(DataError, match="illegal character 'J'"):
        open_or_build_store(path, tmp_path / "store")


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.bin", "ids.bin", "id_offsets.bin", "id_hashes.bin"])
def test_a_flipped_bit_is_found_in_every_file(store, name):
    path = store.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"{name} has checksum .*Delete it and prepare the data again"):
        SequenceStore.open(store.path)
    large = SequenceStore.open(store.path, verify=False)  # as a store above the size that is always verified
    with pytest.raises(FormatError, match=name):
        large.verify()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("tokens.bin", lambda content: content[:-1], r"tokens.bin has \d+ bytes, expected \d+"),
        ("ids.bin", lambda content: b"", "ids.bin has 0 bytes"),
        ("store.json", lambda content: content[:-40], "store.json is not JSON"),
        ("store.json", lambda content: b"[]", "does not describe a bionemo-sequence-store"),
        ("store.json", lambda content: b"\xff\xfe", "store.json is not JSON"),
        ("store.json", lambda content: content.replace(b'"count": 2', b'"count": 3', 1), "was changed after"),
        ("store.json", lambda content: content.replace(b'"version": 1', b'"version": 9'), "has version 9"),
    ],
)
def test_truncated_and_changed_files_are_refused(store, name, damage, message):
    path = store.path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match=message) as caught:
        SequenceStore.open(store.path, verify=False)
    assert str(store.path) in str(caught.value)


def test_missing_files_are_named(store, tmp_path):
    (store.path / "ids.bin").unlink()
    with pytest.raises(FormatError, match=r"ids\.bin is missing"):
        SequenceStore.open(store.path)
    with pytest.raises(MissingFileError, match="there is no sequence store"):
        SequenceStore.open(tmp_path / "none")


def test_damaged_offsets_of_a_large_store_are_told_by_gather(store):
    offsets = np.fromfile(store.path / "offsets.bin", dtype="<i8")
    offsets[10] = 0
    offsets.tofile(store.path / "offsets.bin")
    large = SequenceStore.open(store.path, verify=False)
    with pytest.raises(FormatError, match=r"offsets\.bin decreases at sequence 9"):
        large.gather(np.array([9]))


def test_duplicate_ids_are_named_and_nothing_is_left(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text(">a\nMK\n>b\nMK\n>c\nM\n>b x\nMKT\n")
    with pytest.raises(DataError, match="the id 'b' occurs twice, in records 2 and 4"):
        build_store(path, tmp_path / "store")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.fasta"]


def test_a_folder_with_other_files_is_never_replaced(tmp_path, fasta_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataFileError, match="holds files that are no sequence store"):
        build_store(fasta_path, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").exists()


@pytest.mark.parametrize("sort_items", [1, 7, 1000])
def test_sorting_in_ranges_equals_sorting_at_once(monkeypatch, sort_items):
    monkeypatch.setattr(array_files, "SORT_ITEMS", sort_items)
    keys = np.random.default_rng(0).integers(0, 2**64, 50, dtype=np.uint64)
    keys[10] = keys[40]
    keys[3] = np.uint64(2**64 - 1)
    parts = list(sorted_by_key(keys))
    order = np.argsort(keys, kind="stable")
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), keys[order])
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), order)
    assert len(parts) == -(-50 // sort_items)


def test_a_store_is_the_same_whatever_the_range_of_sorting(monkeypatch, fasta_path, tmp_path, store):
    monkeypatch.setattr(array_files, "SORT_ITEMS", 16)
    again = build_store(fasta_path, tmp_path / "again")
    assert {k: v["crc32"] for k, v in again.header["files"].items()} == {
        k: v["crc32"] for k, v in store.header["files"].items()
    }


PEAK = r"""
import re, sys
from bionemo.esm2.data import array_files, fasta
array_files.SORT_ITEMS = 20_000  # the bounds, scaled down like the file
fasta._BLOCK_BYTES = 2**18
from bionemo.esm2.data.sequence_store_writer import build_store
build_store(sys.argv[1], sys.argv[2])
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak_kib(num):
        path = tmp_path / f"{num}.fasta"
        line = "MKTAYIAKQRQISFVKSHFSRQ" * 10
        path.write_text("".join(f">protein_{idx}\n{line}\n" for idx in range(num)))
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(tmp_path / f"store{num}")],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    small, large = peak_kib(20_000), peak_kib(160_000)
    # The large file's tokens alone are 35 MiB; memory-mapped pages of ids and hashes (16 bytes a record) may count.
    assert large - small < 12 * 1024


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, fasta_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    code = (
        "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from bionemo.esm2.scripts.prepare_esm2_data import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--fasta", str(fasta_path), "--output-dir", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},  # it writes too
        preexec_fn=limit,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "store: cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_header_says_what_was_read(store, fasta_path):
    header = json.loads((store.path / "store.json").read_text())
    assert header["source"]["fasta"]["name"] == "in.fasta"
    assert header["source"]["fasta"]["size_bytes"] == fasta_path.stat().st_size
    assert header["summary"]["num_sequences"] == 200
    assert header["files"]["tokens.bin"]["count"] == len(store.tokens)


def build_with_others(fasta_path, store_dir):
    import torch.distributed as dist

    dist.barrier()
    return len(open_or_build_store(fasta_path, store_dir))


def test_ranks_that_start_together_share_the_store(tmp_path):
    from bionemo.testing.multiprocess import run_on_ranks

    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">s{i}\nMKTAY\n" for i in range(50)))
    for attempt in range(5):
        assert run_on_ranks(4, build_with_others, path, tmp_path / f"store{attempt}") == [50] * 4


DUPLICATES = ">a\nMK\n>b x\nMKT\n>a_2\nMA\n>a y\nMG\n>b\nMR\n>a\nMKTAY\n"


def _contents(store):
    return [(store.id(idx), store.sequence(idx)) for idx in range(len(store))]


@pytest.mark.parametrize("sort_items", [1, 1000])
def test_ids_that_occur_twice_are_numbered_or_left_out(tmp_path, monkeypatch, sort_items):
    monkeypatch.setattr(array_files, "SORT_ITEMS", sort_items)
    path = tmp_path / "in.fasta"
    path.write_text(DUPLICATES)
    with pytest.raises(DataError, match=r"the id 'a' occurs twice, in records 1 and 4\. .* --duplicate-ids number"):
        build_store(path, tmp_path / "store")

    numbered = build_store(path, tmp_path / "numbered", on_duplicate_id="number")
    names = ["a", "b", "a_2", "a_3", "b_2", "a_4"]
    assert _contents(numbered) == list(zip(names, ["MK", "MKT", "MA", "MG", "MR", "MKTAY"], strict=True))
    assert numbered.find(names).tolist() == [0, 1, 2, 3, 4, 5]
    assert numbered.header["summary"]["num_ids_numbered"] == 3
    numbered.verify()

    skipped = build_store(path, tmp_path / "skipped", on_bad_record="skip")
    assert _contents(skipped) == [("a", "MK"), ("b", "MKT"), ("a_2", "MA")]
    summary = skipped.header["summary"]
    assert (summary["num_sequences"], summary["num_residues"], summary["num_records_rejected"]) == (3, 7, 3)
    assert (skipped.path / "rejected.tsv").read_text().splitlines() == [
        "file\trecord\tline\tid\treason",
        f"{path}\t4\t0\ta\tthe id stands before, in record 1",
        f"{path}\t5\t0\tb\tthe id stands before, in record 2",
        f"{path}\t6\t0\ta\tthe id stands before, in record 1",
    ]
    assert sorted(file.name for file in skipped.path.iterdir() if file.name != "rejected.tsv") == sorted(
        file.name for file in numbered.path.iterdir()
    )


def test_several_files_are_one_store_and_messages_name_the_file(tmp_path, caplog):
    (tmp_path / "x.fasta").write_text(">a\nMK\n>bad\nMJ\n>b\nMKT\n")
    (tmp_path / "y.fasta").write_text(">c\nMA\n>a\nMG\n")
    source = [tmp_path / "x.fasta", tmp_path / "y.fasta"]
    with pytest.raises(DataError, match=r"x\.fasta: record 2 \('bad'\): illegal character 'J'"):
        build_store(source, tmp_path / "store")
    with pytest.raises(
        DataError, match=r"x\.fasta: the id 'a' occurs twice, in record 1 and in record 2 of .*y\.fasta"
    ):
        build_store(source, tmp_path / "store", on_bad_record="skip", on_duplicate_id="error")
    store = open_or_build_store(source, tmp_path / "store", on_bad_record="skip")
    assert _contents(store) == [("a", "MK"), ("b", "MKT"), ("c", "MA")]
    rows = [line.split("\t") for line in (store.path / "rejected.tsv").read_text().splitlines()[1:]]
    assert [(row[0], row[1], row[3]) for row in rows] == [(str(source[0]), "2", "bad"), (str(source[1]), "2", "a")]
    assert "2 records were left out, listed in" in caplog.text
    inode = store.path.stat().st_ino
    assert open_or_build_store(source, store.path, on_bad_record="skip").path.stat().st_ino == inode
    assert len(open_or_build_store(source, store.path, on_bad_record="fix")) == 5  # another policy, another store
    with pytest.raises(DataFileError, match="is a prepared store, which cannot be read together"):
        open_or_build_store([store.path, source[0]], tmp_path / "other")


def test_a_source_of_bad_records_only_is_an_error(tmp_path):
    (tmp_path / "in.fasta").write_text(">a\nMJ\n>b\n*\n")
    with pytest.raises(FormatError, match="no record is left, all 2 were rejected"):
        build_store(tmp_path / "in.fasta", tmp_path / "store", on_bad_record="skip")
    assert not (tmp_path / "store").exists()
