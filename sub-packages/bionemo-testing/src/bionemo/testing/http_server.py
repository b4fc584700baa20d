# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server on the loopback interface that misbehaves on request, for testing downloads without a network."""

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import quote, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    range: str | None
    """The Range header, for example ``bytes=1000-``."""
    headers: dict[str, str]
    """All headers, names in lower case."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How one answer goes wrong. Several fields may be set; the plain ``Fault()`` answers correctly."""

    status: int | None = None
    """Answer with this error status and no content, for example 404 or 503."""
    retry_after_s: int | None = None
    """Retry-After header beside ``status``."""
    redirect_to: str | None = None
    """Answer 302 with this Location, absolute or a path of this server."""
    truncate_after: int | None = None
    """Promise everything, send this many bytes of it, close the connection."""
    corrupt_at: int | None = None
    """Flip all bits of the content's byte at this offset; the length stays right."""
    bytes_per_s: float | None = None
    """Send slowly, in chunks of a twentieth of a second."""
    stall_s: float = 0.0
    """Wait before the first byte of the answer."""
    ignore_range: bool = False
    """Answer a range request with the whole content and status 200."""
    omit_length: bool = False
    """Send no Content-Length; the end of the content is the end of the connection."""


OK = Fault()


class LoopbackServer:
    """Serve bytes under ``http://127.0.0.1:<free port>/`` from a thread; use it as a context manager.

    Example:
        >>> with LoopbackServer() as server:
        ...     url = server.serve("model.bin", data, Fault(status=503), Fault(truncate_after=1000))
        ...     download(url)  # sees a 503, then a torn answer, then correct ones
        ...     assert [request.range for request in server.requests] == [None, None, "bytes=1000-"]
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._contents: dict[str, bytes] = {}
        self._faults: dict[str, list[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._headers: dict[str, Mapping[str, str]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()  # ends slow and stalled answers
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(
        self,
        path: str,
        content: bytes = b"",
        *faults: Fault,
        always: Fault = OK,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Offer ``content`` under ``path`` and return its URL.

        Args:
            path: With or without a leading slash. A path served again forgets its former content and faults.
            content: The bytes of a correct answer.
            faults: The n-th request for this path meets the n-th fault.
            always: What later requests meet.
            headers: Further headers of all answers.
        """
        key = "/" + path.lstrip("/")
        with self._lock:
            self._contents[key], self._faults[key], self._always[key] = content, list(faults), always
            self._headers[key] = dict(headers or {})
        return self.url + quote(key)

    def requests_for(self, path: str) -> list[Request]:
        """The requests for one path, oldest first."""
        key = "/" + path.lstrip("/")
        return [request for request in self.requests if request.path == key]

    def _take(self, request: Request) -> tuple[bytes | None, Fault]:
        with self._lock:
            self.requests.append(request)
            faults = self._faults.get(request.path)
            fault = faults.pop(0) if faults else self._always.get(request.path, OK)
            return self._contents.get(request.path), fault


class _Server(ThreadingHTTPServer):
    owner: LoopbackServer
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean; ``requests`` has what is to know."""

    def _answer(self, method: Literal["GET", "HEAD"]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method, unquote(urlsplit(self.path).path), headers.get("range"), headers)
        content, fault = self.server.owner._take(request)
        if fault.stall_s and self.server.owner._stopped.wait(fault.stall_s):
            return
        more: Mapping[str, object] = self.server.owner._headers.get(request.path, {})
        if fault.redirect_to is not None:
            self._send(302, b"", {**self.server.owner._headers.get(request.path, {}), "Location": fault.redirect_to})
        elif fault.status is not None:
            retry = {} if fault.retry_after_s is None else {"Retry-After": fault.retry_after_s}
            self._send(fault.status, b"", {**more, **retry})
        elif content is None:
            self._send(404, b"")
        else:
            self._send_content(method, content, request, fault)

    def _send_content(self, method: str, content: bytes, request: Request, fault: Fault) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if fault.corrupt_at is not None:
            at = fault.corrupt_at
            content = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
        headers: dict[str, object] = {"ETag": etag, "Accept-Ranges": "none" if fault.ignore_range else "bytes"}
        headers |= self.server.owner._headers.get(request.path, {})
        status, body = 200, content
        fresh = request.headers.get("if-range", etag) == etag
        if request.range is not None and fresh and not fault.ignore_range:
            bounds = _range_bounds(request.range, len(content))
            if bounds is None:
                self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            status, body = 206, content[bounds[0] : bounds[1]]
            headers["Content-Range"] = f"bytes {bounds[0]}-{bounds[1] - 1}/{len(content)}"
        self._send(status, body, headers, fault=fault, with_body=method == "GET")

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, object] | None = None,
        fault: Fault = OK,
        with_body: bool = True,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        if fault.omit_length:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        if fault.truncate_after is not None:
            body = body[: fault.truncate_after]
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if not with_body:
            return
        try:
            self._write(body, fault.bytes_per_s)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has left: its own affair

    def _write(self, body: bytes, bytes_per_s: float | None) -> None:
        if bytes_per_s is None:
            self.wfile.write(body)
            return
        start, piece = time.monotonic(), max(1, int(bytes_per_s / 20))
        for offset in range(0, len(body), piece):
            self.wfile.write(body[offset : offset + piece])
            due = start + (offset + piece) / bytes_per_s
            if self.server.owner._stopped.wait(max(0.0, due - time.monotonic())):
                self.close_connection = True
                return


def _range_bounds(header: str, size: int) -> tuple[int, int] | None:
    """Start and end of a single byte range (RFC 9110, section 14); None when it cannot be satisfied."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    return (start, stop) if start < stop else None
