# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import http.client
import time
import urllib.error
import urllib.request

import pytest

from bionemo.testing.http_server import Fault, LoopbackServer


DATA = bytes(range(256)) * 40


@pytest.fixture
def server():
    with LoopbackServer() as server:
        yield server


def get(url, **headers):
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, dict(answer.headers), answer.read()


def test_content_and_log(server):
    url = server.serve("folder/my model.bin", DATA)
    assert url.startswith("http://127.0.0.1:")
    status, headers, body = get(url)
    assert (status, body, headers["Content-Length"]) == (200, DATA, str(len(DATA)))
    assert [(request.method, request.range) for request in server.requests_for("folder/my model.bin")] == [
        ("GET", None)
    ]


def test_head_has_the_length_and_no_content(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    server.serve("a", DATA)
    for _ in range(2):  # on one connection, which a body sent by mistake would break
        connection.request("HEAD", "/a")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, str(len(DATA)), b"")


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [("bytes=100-", 100, None), ("bytes=0-9", 0, 10), ("bytes=-7", -7, None)]
)
def test_ranges(server, asked, start, stop):
    status, headers, body = get(server.serve("a", DATA), Range=asked)
    assert (status, body) == (206, DATA[start:stop])
    first = len(DATA) + start if start < 0 else start
    assert headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(DATA)}"


def test_a_range_beyond_the_end_is_416(server):
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(server.serve("a", DATA), Range=f"bytes={len(DATA)}-")
    assert (caught.value.code, caught.value.headers["Content-Range"]) == (416, f"bytes */{len(DATA)}")


def test_if_range_with_another_etag_gets_the_whole(server):
    url = server.serve("a", DATA)
    etag = get(url)[1]["ETag"]
    assert get(url, Range="bytes=5-", If_Range=etag)[0] == 206
    assert get(url, Range="bytes=5-", If_Range='"older"')[::2] == (200, DATA)


def test_a_server_that_ignores_ranges(server):
    status, headers, body = get(server.serve("a", DATA, always=Fault(ignore_range=True)), Range="bytes=5-")
    assert (status, body, "Content-Range" in headers) == (200, DATA, False)


def test_faults_come_in_turn_and_then_end(server):
    url = server.serve("a", DATA, Fault(status=503, retry_after_s=7), Fault(status=404), Fault(corrupt_at=300))
    for code, retry_after in ((503, "7"), (404, None)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(url)
        assert (caught.value.code, caught.value.headers["Retry-After"]) == (code, retry_after)
    damaged = get(url)[2]
    assert [i for i in range(len(DATA)) if damaged[i] != DATA[i]] == [300]
    assert get(url)[2] == DATA
    assert len(server.requests) == 4


def test_truncation_is_seen_by_the_client(server):
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(server.serve("a", DATA, Fault(truncate_after=1000)))
    assert caught.value.partial == DATA[:1000]


def test_content_without_a_length(server):
    _, headers, body = get(server.serve("a", DATA, Fault(omit_length=True)))
    assert (body, "Content-Length" in headers) == (DATA, False)


def test_redirect_within_and_to_a_missing_path(server):
    server.serve("new", DATA)
    assert get(server.serve("old", b"", Fault(redirect_to="/new")))[2] == DATA
    assert [request.path for request in server.requests] == ["/old", "/new"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(server.serve("lost", b"", Fault(redirect_to="/nowhere")))


def test_slow_and_stalled_answers_take_their_time(server):
    start = time.monotonic()
    assert get(server.serve("a", DATA, Fault(bytes_per_s=len(DATA) * 5)))[2] == DATA
    assert 0.15 < time.monotonic() - start < 3
    start = time.monotonic()
    assert get(server.serve("b", DATA, Fault(stall_s=0.2)))[2] == DATA
    assert time.monotonic() - start > 0.19


def test_leaving_the_block_ends_slow_answers_at_once():
    with LoopbackServer() as server:
        url = server.serve("a", DATA, Fault(bytes_per_s=10))
        answer = urllib.request.urlopen(url, timeout=10)
        start = time.monotonic()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()
    assert time.monotonic() - start < 5
    with pytest.raises(urllib.error.URLError):
        get(url)
