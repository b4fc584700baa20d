# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Downloads from a real local server: verified, atomic, and with one clear error."""

import hashlib
import tempfile
from pathlib import Path

import pytest

from bionemo.core import BIONEMO_CACHE_DIR
from bionemo.core.errors import ChecksumError, ConfigError, DataFileError, ResourceError
from bionemo.llm.utils.remote import FTPRemoteResource, RemoteResource
from bionemo.testing.http_server import Fault, LoopbackServer


CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server():
    with LoopbackServer() as server:
        yield server


def _resource(tmp_path, url, checksum=hashlib.md5(CONTENT).hexdigest()):  # noqa: B008 - a constant
    return RemoteResource(
        checksum=checksum, dest_filename="a.bin", dest_directory="sub/dir", root_directory=tmp_path, url=url
    )


def test_downloads_once(server, tmp_path):
    resource = _resource(tmp_path, server.serve("a.bin", CONTENT))
    assert not resource.check_exists()
    path = resource.download_resource()
    assert path == str(tmp_path / "sub" / "dir" / "a.bin")
    assert Path(path).read_bytes() == CONTENT
    assert resource.check_exists()
    assert resource.download_resource() == path
    assert len(server.requests) == 1
    resource.download_resource(overwrite=True)
    assert len(server.requests) == 2


def test_a_damaged_local_file_is_fetched_again(server, tmp_path):
    resource = _resource(tmp_path, server.serve("a.bin", CONTENT))
    path = Path(resource.download_resource())
    path.write_bytes(b"damaged")
    assert not resource.check_exists()
    resource.download_resource()
    assert path.read_bytes() == CONTENT


def test_without_a_checksum_any_content_is_taken(server, tmp_path):
    resource = _resource(tmp_path, server.serve("a.bin", b"anything"), checksum=None)
    assert Path(resource.download_resource()).read_bytes() == b"anything"


def test_a_wrong_checksum_keeps_what_was_there(server, tmp_path):
    resource = _resource(tmp_path, server.serve("a.bin", CONTENT, always=Fault(corrupt_at=300)))
    path = Path(resource.fully_qualified_dest_filename)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    with pytest.raises(ChecksumError, match=r"a\.bin: MD5 is [0-9a-f]{32}, expected [0-9a-f]{32}"):
        resource.download_resource()
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(
    "fault", [Fault(status=404), Fault(status=503), Fault(truncate_after=1000)], ids=["404", "503", "truncated"]
)
def test_a_failing_server_leaves_nothing(server, tmp_path, fault):
    resource = _resource(tmp_path, server.serve("a.bin", CONTENT, always=fault), checksum=None)
    with pytest.raises(ResourceError, match=r"/a\.bin: cannot be downloaded: "):
        resource.download_resource()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/a.bin", "cannot be downloaded"),
        ("ftp://127.0.0.1:9/a.bin", "cannot be downloaded"),
        ("gopher://host/a.bin", "gopher://host/a.bin: .*gopher"),
    ],
)
def test_unreachable_and_unknown_addresses(tmp_path, url, message):
    with pytest.raises(ResourceError, match=message):
        FTPRemoteResource("0" * 32, "a.bin", "d", tmp_path, url).download_resource()


def test_no_url(tmp_path):
    with pytest.raises(ConfigError, match=r"RemoteResource a\.bin: no url is given"):
        _resource(tmp_path, None).download_resource()


def test_unwritable_folder(server, tmp_path):
    (tmp_path / "sub").write_text("a file where a folder is needed")
    with pytest.raises(DataFileError, match=r"a\.bin: cannot be written"):
        _resource(tmp_path, server.serve("a.bin", CONTENT)).download_resource()


def test_temporary_folder(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/somewhere")
    assert RemoteResource.get_env_tmpdir() == "/somewhere"
    monkeypatch.delenv("TMPDIR")
    assert RemoteResource.get_env_tmpdir() == tempfile.gettempdir()


def test_default_folder_is_the_cache():
    assert RemoteResource(None, "a", "b").fully_qualified_dest_folder == BIONEMO_CACHE_DIR / "b"
