# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Weight files of other makers: read on demand, confined to their folder, executed never, refused in one line."""

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints import weight_files
from bionemo.llm.checkpoints.hf_directory import verify_checksums
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.weight_files import open_weights


class Touch:
    """A pickle that makes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refused(directory: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as error:
        open_weights(directory)
    assert "\n" not in str(error.value)
    assert str(directory) in str(error.value)


def write_index(directory: Path, weight_map: object) -> None:
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_tensors_are_read_when_asked_for_and_the_mapping_is_renewed(tmp_path: Path, monkeypatch) -> None:
    tensors = {f"w{idx}": torch.full((64, 4), float(idx)) for idx in range(6)}
    for shard in range(2):
        part = {name: tensor for name, tensor in tensors.items() if int(name[1]) % 2 == shard}
        save_file(part, tmp_path / f"model-{shard}.safetensors")
    write_index(tmp_path, {name: f"model-{int(name[1]) % 2}.safetensors" for name in tensors})
    monkeypatch.setattr(weight_files, "MAPPED_BYTES", 2000)
    opened = []
    real = weight_files.SafetensorsFile
    monkeypatch.setattr(weight_files, "SafetensorsFile", lambda path: opened.append(path.name) or real(path))

    found = open_weights(tmp_path)
    assert opened == ["model-0.safetensors", "model-1.safetensors"]
    assert {name: found.shape(name) for name in found} == dict.fromkeys(tensors, (64, 4))
    del opened[:]
    for name in ("w0", "w2", "w4", "w1"):
        assert torch.equal(found[name], tensors[name])
    # 1,024 bytes a tensor: the third read renews the mapping, the other file is opened for the fourth
    assert opened == ["model-0.safetensors"] * 2 + ["model-1.safetensors"]


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "a\0b", 7, None, ["x"]]
)
def test_an_index_that_leaves_the_folder_is_refused(shard: object, tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path.parent / "outside.safetensors")
    write_index(tmp_path, {"w": shard})
    refused(tmp_path, "weight_map says w: .* expected a file of the same folder")


@pytest.mark.parametrize("weight_map", [None, [], {}, "text", 3])
def test_an_index_without_a_map_is_refused(weight_map: object, tmp_path: Path) -> None:
    write_index(tmp_path, weight_map)
    refused(tmp_path, "holds no weight_map")


def test_missing_mixed_and_damaged_shards_are_named(tmp_path: Path) -> None:
    write_index(tmp_path, {"w": "model-1.safetensors"})
    refused(tmp_path, "model-1.safetensors: no such file")
    save_file({"v": torch.ones(2)}, tmp_path / "model-1.safetensors")
    refused(tmp_path, "names w in model-1.safetensors, which does not hold it")
    content = (tmp_path / "model-1.safetensors").read_bytes()
    for damaged in (content[:-1], content[:4], b"", (1 << 62).to_bytes(8, "little") + content[8:]):
        (tmp_path / "model-1.safetensors").write_bytes(damaged)
        refused(tmp_path, "cannot be read as safetensors")


def test_a_pickle_that_executes_code_is_refused_and_executes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.ones(2), "x": Touch(tmp_path / "executed")}, path)
    refused(tmp_path, "holds more than tensors and plain values")
    path.write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
    refused(tmp_path, re.escape(str(path)))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [[1, 2], {"w": 1}, {1: torch.ones(2)}, "text"])
def test_a_pickle_that_is_no_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    refused(tmp_path, "holds no state dict")


def test_a_truncated_pickle_is_refused_and_old_formats_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"state_dict": {"w": torch.arange(9)}}, path)
    assert torch.equal(open_weights(tmp_path)["w"], torch.arange(9))
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"PK", b"", b"\x80\x02}q\x00."):
        path.write_bytes(damaged)
        refused(tmp_path, "pytorch_model.bin: ")
    torch.save({"w": torch.arange(9)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(open_weights(tmp_path)["w"], torch.arange(9))


def test_an_adapter_is_named_as_such(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "facebook/esm2_t6_8M"}))
    refused(tmp_path, "is a PEFT adapter of 'facebook/esm2_t6_8M'")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' * 200_000, "nested too deeply"),
        (b"[1]", "holds a list, expected a JSON object"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b'{"a": 1', "cannot be read as JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
    ],
)
def test_hostile_json_is_one_line(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=match) as error:
        read_json(tmp_path / "config.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "files",
    [
        [], "text", {"../outside": {"size_bytes": 1, "crc32": "0"}}, {"/etc/passwd": {"size_bytes": 1, "crc32": "0"}},
        {"w": None}, {"w": {"size_bytes": 1}}, {"": {"size_bytes": 1, "crc32": "0"}},
    ],
)  # fmt: skip
def test_hostile_checksums_are_one_line(files: object, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"x")
    (tmp_path.parent / "outside").write_bytes(b"x")
    (tmp_path / "checksums.json").write_text(json.dumps({"files": files}))
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "checksums.json"))) as error:
        verify_checksums(tmp_path)
    assert "\n" not in str(error.value)
