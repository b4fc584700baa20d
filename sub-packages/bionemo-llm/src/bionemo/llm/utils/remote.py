# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Files from the network with a recorded digest: streamed, verified, and only then given their name.

New code uses ``bionemo.core.data.load``; these classes keep scripts running that name a URL themselves.
"""

import ftplib
import hashlib
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bionemo.core.cache_dir import BIONEMO_CACHE_DIR
from bionemo.core.errors import ChecksumError, ConfigError, ResourceError
from bionemo.core.files import atomic_file


@dataclass
class RemoteResource:
    """One file to fetch over HTTP(S) or FTP.

    Args:
        checksum: MD5 of the file, 32 hexadecimal digits; None accepts any content.
        dest_filename: Name of the local file.
        dest_directory: Folder below ``root_directory``.
        root_directory: Folder of all downloads, by default the cache directory.
        url: Where the file is.
    """

    checksum: str | None
    dest_filename: str
    dest_directory: str
    root_directory: str | os.PathLike[str] = BIONEMO_CACHE_DIR
    url: str | None = None

    @property
    def fully_qualified_dest_folder(self) -> Path:
        """Folder of the local file."""
        return Path(self.root_directory) / self.dest_directory

    @property
    def fully_qualified_dest_filename(self) -> str:
        """Path of the local file."""
        return str(self.fully_qualified_dest_folder / self.dest_filename)

    def check_exists(self) -> bool:
        """Whether the local file is there with the right content."""
        path = Path(self.fully_qualified_dest_filename)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return self.checksum in (None, hashlib.file_digest(file, "md5").hexdigest())

    def download_resource(self, overwrite: bool = False) -> str:
        """Fetch the file, unless it is there already.

        Args:
            overwrite: Fetch it again even so.

        Returns:
            Path of the local file.

        Raises:
            ConfigError: There is no URL.
            ResourceError: The server did not give the file.
            ChecksumError: It gave another one; what was there before stays.
            DataFileError: The file cannot be written.
        """
        if not overwrite and self.check_exists():
            return self.fully_qualified_dest_filename
        if self.url is None:
            raise ConfigError(f"RemoteResource {self.dest_filename}: no url is given, so it cannot be downloaded.")
        with atomic_file(self.fully_qualified_dest_filename, "w+b") as file:
            _fetch(self.url, file)
            file.seek(0)
            found = hashlib.file_digest(file, "md5").hexdigest()  # type: ignore[arg-type]  # a real file
            if self.checksum not in (None, found):
                raise ChecksumError(f"{self.url}: MD5 is {found}, expected {self.checksum}. Nothing was kept.")
        return self.fully_qualified_dest_filename

    @staticmethod
    def get_env_tmpdir() -> str:
        """Folder for temporary files: ``TMPDIR`` where it is set."""
        return os.environ.get("TMPDIR") or tempfile.gettempdir()


@dataclass
class FTPRemoteResource(RemoteResource):
    """A ``RemoteResource`` whose ``url`` begins with ``ftp://``; the base class fetches those too."""


def _fetch(url: str, file: object) -> None:
    """Stream a URL into an open file."""
    import pooch
    import requests

    try:
        pooch.downloaders.choose_downloader(url)(url, file, None)
    except (
        requests.RequestException,
        ftplib.Error,
        EOFError,
        ConnectionError,
        TimeoutError,
        socket.gaierror,
    ) as error:
        raise ResourceError(f"{url}: cannot be downloaded: {error}. Check the address and the connection.") from error
    except ValueError as error:  # pooch's word for a protocol it does not know
        raise ResourceError(f"{url}: {error}") from error
