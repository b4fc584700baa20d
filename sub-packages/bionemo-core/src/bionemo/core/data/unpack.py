# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Unpack a tar archive from anywhere: every member is checked before one is written."""

import os
from pathlib import Path

from bionemo.core.data import _archives as archives


def unpack_tar_file(
    path: str | os.PathLike[str], extract_dir: str | os.PathLike[str], *, max_unpacked_bytes: int | None = None
) -> None:
    """Unpack a tar, compressed or not, into a folder that appears when it is complete.

    Args:
        path: The archive.
        extract_dir: The new folder.
        max_unpacked_bytes: What it may unpack to; see `bionemo.core.unpacking`.

    Raises:
        FormatError: It is no tar, damaged or cut off, or unpacks to more than is allowed.
        UnsafeArchiveError: A member would be written, or point, outside the folder; a `ResourceError`.
    """
    path, extract_dir = Path(path), Path(extract_dir)
    with archives.open_tar(path) as archive:
        members = archives.tar_members(path, archive)
        archives.check_member_names([member.name for member in members], extract_dir)
        archives.check_tar_members(members)
        archives.unpack_tar(path, members, archive, extract_dir, max_unpacked_bytes=max_unpacked_bytes)
