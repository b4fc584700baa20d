# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import hashlib

import numpy as np
import pytest

from bionemo.core.data import _http_download as http_download
from bionemo.core.data._http_download import DownloadError, download_http, hub_request
from bionemo.core.errors import DataFileError
from bionemo.testing.http_server import Fault, LoopbackServer


CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()


@pytest.fixture(scope="module")
def server():
    with LoopbackServer() as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(http_download, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(http_download, "_LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(http_download, "_TIMEOUT_S", (5.0, 0.5))


def ranges(server, path):
    return [request.range for request in server.requests_for(path)]


def test_whole_file(server, tmp_path):
    url = server.serve("whole", CONTENT)
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_torn_transfers_go_on_where_they_broke_off(server, tmp_path):
    url = server.serve("torn", CONTENT, Fault(truncate_after=1000), Fault(truncate_after=70_000))
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(server, "torn") == [None, "bytes=1000-", "bytes=71000-"]
    assert "if-range" in server.requests_for("torn")[1].headers


def test_temporary_failures_and_stalls(server, tmp_path):
    faults = [Fault(status=503), Fault(status=503, retry_after_s=1), Fault(stall_s=30), Fault(status=429)]
    url = server.serve("busy", CONTENT, *faults)
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(ranges(server, "busy")) == 5


def test_slow_but_steady_is_no_time_out(server, tmp_path):
    url = server.serve("slow", CONTENT, Fault(bytes_per_s=400_000))
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(server, "slow") == [None]


def test_redirects(server, tmp_path):
    url = server.serve("moved", b"", Fault(redirect_to="/target%20file"))
    server.serve("target file", CONTENT)
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_server_without_ranges_starts_again(server, tmp_path):
    url = server.serve("plain", CONTENT, Fault(truncate_after=5000), always=Fault(ignore_range=True))
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_server_without_lengths(server, tmp_path):
    url = server.serve("unknown", CONTENT, always=Fault(omit_length=True))
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_file_that_changes_between_attempts_is_started_again(server, tmp_path):
    class Changing(type(tmp_path)):
        pass

    url = server.serve("changing", CONTENT, Fault(truncate_after=5000))
    original = server._take

    def take(request):
        answer = original(request)
        if request.path == "/changing" and request.range is None:
            server._contents["/changing"] = CONTENT[::-1]
        return answer

    server._take = take
    try:
        download_http(url, tmp_path / "f")
    finally:
        server._take = original
    assert (tmp_path / "f").read_bytes() == CONTENT[::-1]


def test_beginning_of_an_earlier_call_is_used(server, tmp_path):
    url = server.serve("resumed", CONTENT)
    (tmp_path / "f").write_bytes(CONTENT[:123_456])
    download_http(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(server, "resumed") == ["bytes=123456-"]


@pytest.mark.parametrize(("extra", "num_requests"), [(b"", 1), (b"longer", 2)])
def test_beginning_as_long_as_the_file_or_longer(server, tmp_path, extra, num_requests):
    path = f"long{len(extra)}"
    url = server.serve(path, CONTENT)
    (tmp_path / "f").write_bytes(CONTENT + extra)
    download_http(url, tmp_path / "f")
    assert hashlib.sha256((tmp_path / "f").read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
    assert len(ranges(server, path)) == num_requests


@pytest.mark.parametrize("status", [404, 403, 401, 410])
def test_refusals_are_final(server, tmp_path, status):
    url = server.serve(f"no{status}", CONTENT, always=Fault(status=status))
    with pytest.raises(DownloadError, match=rf"no{status}: the server answered with HTTP status {status}"):
        download_http(url, tmp_path / "f")
    assert len(ranges(server, f"no{status}")) == 1


def test_attempts_without_a_byte_end(server, tmp_path):
    url = server.serve("down", CONTENT, always=Fault(status=503))
    with pytest.raises(DownloadError, match=r"down: download failed 5 times in a row, last by: HTTP status 503\."):
        download_http(url, tmp_path / "f")
    assert len(ranges(server, "down")) == 5


def test_no_server(tmp_path):
    with LoopbackServer() as stopped:
        url = stopped.url
    with pytest.raises(DownloadError, match="download failed 5 times in a row, last by: ConnectionError"):
        download_http(f"{url}/f", tmp_path / "f")


def test_unwritable_place_is_named(server, tmp_path):
    url = server.serve("unwritable", CONTENT)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataFileError, match=r"folder: cannot be written: Is a directory"):
        download_http(url, tmp_path / "folder")


def test_hub_request(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert hub_request("a/b", "main", "c/d.bin") == ("https://huggingface.co/a/b/resolve/main/c/d.bin", {})
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror/")
    monkeypatch.setenv("HF_TOKEN", "secret")
    expected = ("https://mirror/datasets/a/b/resolve/v1/c", {"Authorization": "Bearer secret"})
    assert hub_request("datasets/a/b", "v1", "c") == expected
