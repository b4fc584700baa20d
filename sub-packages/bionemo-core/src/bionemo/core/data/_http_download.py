# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Download one file over HTTP, resuming where an attempt broke off."""

import email.utils
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3

from bionemo.core.errors import ResourceError
from bionemo.core.files import storage_errors
from bionemo.core.progress import progress_bar


logger = logging.getLogger(__name__)

MAX_FRUITLESS_ATTEMPTS = 5  # one after the other, without a single byte
_TIMEOUT_S = (10.0, 60.0)  # to connect; between two pieces of the answer
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_PIECE_BYTES = 1 << 20
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_BROKEN_TRANSFER = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError)


class DownloadError(ResourceError):
    """A server does not have the file, or the transfer failed for good."""


class _TornTransferError(Exception):
    """The server's answer was temporary or incomplete: worth another attempt."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def download_http(url: str, partial: Path, *, headers: Mapping[str, str] | None = None) -> None:
    """Download a file into ``partial``; what that already holds is taken as the file's beginning.

    Redirects are followed. After a time-out, a torn connection or a temporary status the transfer is resumed by a
    range request, after a wait that doubles as long as nothing arrives.

    Args:
        url: Where the file is.
        partial: Where it is written; kept after a failure, so that a later call can resume.
        headers: Sent with the request, for example an authorisation (not passed on to other hosts by redirects).

    Raises:
        DownloadError: The server refuses (404, 403, ...), or attempts in a row brought nothing.
        DataFileError: The disk is full or not writable.
    """
    with requests.Session() as session:
        session.headers.update({"Accept-Encoding": "identity", **(headers or {})})
        transfer, fruitless = _Transfer(session, url, partial), 0
        while True:
            size_before = transfer.offset()
            try:
                return transfer.attempt()
            except _TornTransferError as error:
                reason, asked_wait_s = str(error), error.wait_s
            except _BROKEN_TRANSFER as error:
                reason, asked_wait_s = f"{type(error).__name__}: {error}", None
            fruitless = 0 if transfer.offset() > size_before else fruitless + 1
            if fruitless >= MAX_FRUITLESS_ATTEMPTS:
                raise DownloadError(f"{url}: download failed {fruitless} times in a row, last by: {reason}.")
            wait_s = min(_FIRST_WAIT_S * 2**fruitless if asked_wait_s is None else asked_wait_s, _LONGEST_WAIT_S)
            logger.warning("%s: transfer broke off (%s); going on in %.1f s.", url, reason, wait_s)
            time.sleep(wait_s)


@dataclass
class _Transfer:
    """One file on its way, over several attempts."""

    session: requests.Session
    url: str
    partial: Path
    etag: str | None = None  # which version of the file the first bytes are of

    def offset(self) -> int:
        """How many bytes we have."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def attempt(self) -> None:
        """Ask for what is missing; returns when the file is complete."""
        offset = self.offset()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and self.etag is not None:
            headers["If-Range"] = self.etag
        with self.session.get(self.url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            status = response.status_code
            if status == 416:  # nothing lies beyond what we have: complete, or of another file
                if _total_size(response) == offset:
                    return
                self.partial.unlink()
                raise _TornTransferError("the file has changed on the server", wait_s=0.0)
            if status in _RETRY_STATUS:
                raise _TornTransferError(f"HTTP status {status}", _retry_after_s(response))
            if status not in (200, 206):
                raise DownloadError(f"{self.url}: the server answered with HTTP status {status} ({response.reason}).")
            if status == 200:
                offset = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                raise _TornTransferError("another range was sent than asked for")
            etag = response.headers.get("ETag", "")
            self.etag = etag if etag and not etag.startswith("W/") else None  # a weak one does not vouch for bytes
            length = response.headers.get("Content-Length")
            expected = None if length is None else offset + int(length)
            _write_body(response, self.partial, offset, expected)
            if expected is not None and self.offset() != expected:
                raise _TornTransferError(f"{self.offset()} of {expected} bytes received")


def _write_body(response: requests.Response, partial: Path, offset: int, expected: int | None) -> None:
    name = Path(response.url.split("?")[0]).name
    with (
        storage_errors(partial),
        partial.open("r+b" if offset else "wb") as file,
        progress_bar(total=expected, unit="B", description=name) as bar,
    ):
        file.seek(offset)
        bar.update(offset)
        for piece in response.raw.stream(_PIECE_BYTES, decode_content=False):
            file.write(piece)
            bar.update(len(piece))


def _total_size(response: requests.Response) -> int | None:
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _retry_after_s(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    if value.isdecimal():
        return float(value)
    date: Any = email.utils.parsedate_to_datetime(value) if "," in value else None
    return None if date is None else max(0.0, date.timestamp() - time.time())


def hub_request(repo: str, revision: str, path: str) -> tuple[str, dict[str, str]]:
    """URL and headers for a file of the Hugging Face hub; ``HF_ENDPOINT`` and ``HF_TOKEN`` are honoured."""
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    return f"{endpoint}/{repo}/resolve/{revision}/{path}", {"Authorization": f"Bearer {token}"} if token else {}
