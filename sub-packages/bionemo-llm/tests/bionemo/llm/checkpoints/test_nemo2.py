# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Files of NeMo 2 folders: parts of tensors, and what hostile ones lead to."""

import io
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.nemo2.dist_metadata import read_metadata
from bionemo.llm.checkpoints.nemo2.folder import NemoFolder
from bionemo.llm.checkpoints.nemo2.stored_tensors import open_tensors
from bionemo.llm.checkpoints.nemo2.torch_archive import find_tensor
from bionemo.testing.hostile_files import hostile_json, hostile_pickles, hostile_tensors, load_each


def section(tensor: torch.Tensor, tmp_path: Path) -> tuple[Path, int, int]:
    """Write a tensor between other bytes, as in a file of many."""
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    path = tmp_path / "__0_0.distcp"
    path.write_bytes(b"x" * 13 + buffer.getvalue() + b"PK\x05\x06")
    return path, 13, len(buffer.getvalue())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_a_tensor_is_found_in_a_section_of_a_file(dtype: torch.dtype, tmp_path: Path) -> None:
    whole = torch.arange(24).to(dtype).reshape(4, 6)
    path, start, size_bytes = section(whole[1:3], tmp_path)  # a view: its storage is written whole
    with path.open("rb") as file:
        place = find_tensor(file, start, size_bytes)
    assert (place.shape, place.dtype) == ((2, 6), dtype)
    stored = path.read_bytes()[place.start : place.start + place.size_bytes]
    assert torch.equal(torch.frombuffer(bytearray(stored), dtype=dtype).view(2, 6), whole[1:3])


def test_a_transposed_tensor_is_refused(tmp_path: Path) -> None:
    path, start, size_bytes = section(torch.ones(2, 3).T, tmp_path)
    with path.open("rb") as file, pytest.raises(CheckpointError, match="not contiguous"):
        find_tensor(file, start, size_bytes)


OLD_METADATA = (
    b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81}(X\x13\x00\x00\x00state_dict_metadata}"
    b"X\x01\x00\x00\x00wctorch.distributed.checkpoint.metadata\nTensorStorageMetadata\n)\x81}("
    b"X\n\x00\x00\x00propertiesctorch.distributed._shard.sharded_tensor.metadata\nTensorProperties\n)\x81("
    b"ctorch\nfloat16\nctorch.serialization\n_get_layout\nX\r\x00\x00\x00torch.strided\x85R\x89"
    b"ctorch.distributed._shard.sharded_tensor.metadata\nMEM_FORMAT_ENCODING\nK\x00\x85R\x89tb"
    b"X\x04\x00\x00\x00sizectorch\nSize\nK\x02K\x03\x86\x85RX\x06\x00\x00\x00chunks]"
    b"ctorch.distributed.checkpoint.metadata\nChunkStorageMetadata\n)\x81}(X\x07\x00\x00\x00offsetsctorch\nSize\n"
    b"K\x00K\x00\x86\x85RX\x05\x00\x00\x00sizesctorch\nSize\nK\x02K\x03\x86\x85Rubaubs"
    b"X\x0c\x00\x00\x00planner_dataNX\x0c\x00\x00\x00storage_data}"
    b"ctorch.distributed.checkpoint.metadata\nMetadataIndex\n)\x81}(X\x03\x00\x00\x00fqnX\x01\x00\x00\x00w"
    b"X\x06\x00\x00\x00offsetctorch\nSize\nK\x00K\x00\x86\x85RX\x05\x00\x00\x00indexK\x00ub"
    b"ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}(X\r\x00\x00\x00relative_path"
    b"X\x0c\x00\x00\x00__0_0.distcpX\x06\x00\x00\x00offsetK\x00X\x06\x00\x00\x00lengthM\x00\x04ubsub."
)
"""As torch 2.2 pickles it: where its classes lay then, and without the fields that came later."""


BY_VALUE = b"ctorch.distributed._shard.sharded_tensor.metadata\nMEM_FORMAT_ENCODING\nK\x00\x85R"
BY_NAME = b"cbuiltins\ngetattr\n" + BY_VALUE[:-4] + b"X\x17\x00\x00\x00TORCH_CONTIGUOUS_FORMAT\x86R"


@pytest.mark.parametrize("enumeration", [BY_VALUE, BY_NAME])
def test_metadata_of_old_releases_of_torch(enumeration: bytes, tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(OLD_METADATA.replace(BY_VALUE, enumeration))
    found = read_metadata(tmp_path / ".metadata")
    assert found["w"].shape == (2, 3)
    assert found["w"].dtype == torch.float16
    assert found["w"].parts == (((0, 0), (2, 3), "__0_0.distcp", 0, 1024),)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({b"__0_0.distcp": b"../0_0.distc"}, "expected a file of the same folder"),
        ({b"float16": b"float99"}, "asks for 'torch.float99'"),
        ({b"sizectorch\nSize\nK\x02": b"sizectorch\nSize\nK\x04"}, "have 6 values, the whole 12"),
        ({b"sizesctorch\nSize\nK\x02": b"sizesctorch\nSize\nK\x09"}, "reaches beyond its shape"),
        ({b"fqnX\x01\x00\x00\x00w": b"fqnX\x01\x00\x00\x00v"}, "does not say where the part of w"),
        ({b"lengthM\x00\x04": b"lengthN00"}, "damaged|does not say where"),
        ({b"torch.serialization\n_get_layout": b"os\nsystem"}, r"asks for 'os\.system'"),
    ],
)
def test_metadata_that_lies_is_one_line(changed: dict[bytes, bytes], message: str, tmp_path: Path) -> None:
    content = OLD_METADATA
    for old, new in changed.items():
        assert old in content
        content = content.replace(old, new)
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_metadata(tmp_path / ".metadata")
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


ZARRAY = {
    "zarr_format": 2, "shape": [4, 3], "chunks": [2, 3], "dtype": "<f4", "order": "C", "compressor": None,
    "filters": None, "fill_value": None,
}  # fmt: skip


def zarr_folder(folder: Path, **changes: object) -> NemoFolder:
    array = folder / "weights/module.w"
    array.mkdir(parents=True)
    (array / ".zarray").write_text(json.dumps({**ZARRAY, **changes}))
    for row in range(2):
        (array / f"{row}.0").write_bytes(struct.pack("<6f", *range(row * 6, row * 6 + 6)))
    return NemoFolder(folder)


def test_boxes_of_a_zarr_array(tmp_path: Path) -> None:
    tensor = open_tensors(zarr_folder(tmp_path))["module.w"]
    whole = torch.arange(12.0).view(4, 3)
    assert torch.equal(tensor.read((0, 0), (4, 3)), whole)
    assert torch.equal(tensor.read((1, 1), (2, 2)), whole[1:3, 1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compressor": {"id": "blosc"}}, "not compressed"),
        ({"zarr_format": 3}, "expected an array of zarr format 2"),
        ({"dtype": "|O"}, r"dtype '\|O'"),
        ({"dtype": ["<f4"]}, "says dtype"),
        ({"shape": [4.0, 3]}, "says shape"),
        ({"chunks": [0, 3]}, "says shape"),
        ({"shape": [2**40, 3]}, "has 2 chunks, expected"),
        ({"chunks": [2, 4]}, r"0\.0: 24 bytes, expected 32"),
    ],
)
def test_a_zarr_array_that_lies_is_one_line(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        open_tensors(zarr_folder(tmp_path, **changes))["module.w"].read((0, 0), (4, 3))
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


LOAD = """
from pathlib import Path
import shutil, tempfile
from bionemo.llm.checkpoints.nemo2.context import read_context
from bionemo.llm.checkpoints.nemo2.folder import NemoFolder, open_folder
from bionemo.llm.checkpoints.nemo2.stored_tensors import open_tensors
from bionemo.llm.checkpoints.nemo2.torch_archive import find_tensor

def load(path):
    kind, _, data = path.read_bytes().partition(b"\\n")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if kind == b"archive":
            (folder / "file").write_bytes(data)
            with (folder / "file").open("rb") as file:
                return find_tensor(file, 0, len(data))
        if kind == b"tar":
            (folder / "a.tar.gz").write_bytes(data)
            return open_folder(folder / "a.tar.gz")
        (folder / kind.decode()).parent.mkdir(parents=True, exist_ok=True)
        (folder / kind.decode()).write_bytes(data)
        (folder / "weights").mkdir(exist_ok=True)
        if kind == b"context/io.json":
            return read_context(NemoFolder(folder), ("vocab",))
        return open_tensors(NemoFolder(folder))
"""


def archive_of(description: bytes) -> bytes:
    """Put a pickle where torch's archives describe their tensor."""
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", description)
        archive.writestr("archive/data/0", bytes(16))
    return buffer.getvalue()


def test_hostile_files_execute_nothing_and_are_one_line(tmp_path: Path) -> None:
    pickles = {name: data for name, data in hostile_pickles().items() if len(data) < 2**20}
    kinds = {
        "weights/.metadata": {**hostile_pickles(), "a number": pickle.dumps(1), "a list": pickle.dumps([])},
        "archive": {name: archive_of(data) for name, data in {**pickles, **hostile_tensors()}.items()},
        "weights/module.w/.zarray": hostile_json(),
        "weights/metadata.json": hostile_json(),
        "context/io.json": {**hostile_json(), "objects of other types": b'{"objects": {"a": [], "b": {"items": 1}}}'},
        "tar": {**pickles, "no tar": b"0" * 10240},
    }
    files = {
        f"{kind}: {name}": kind.encode() + b"\n" + data for kind, some in kinds.items() for name, data in some.items()
    }
    outcomes = load_each(LOAD, files, tmp_path)
    assert {name: outcome for name, outcome in outcomes.items() if outcome.error != "CheckpointError"} == {}
    assert not [name for name, outcome in outcomes.items() if "\\n" in outcome.message]
    assert max(outcome.added_mb for outcome in outcomes.values()) < 400
