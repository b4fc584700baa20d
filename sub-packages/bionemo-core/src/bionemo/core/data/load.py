# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Get a model or data file of the catalogue: from the cache, or by download with its digest checked.

In the cache a file is ``<sha256>-<name>``. It is downloaded to a hidden partial file, checked, renamed and unpacked
once, under a lock; ``<file>.checked`` beside it then holds the path that :func:`load` returns.
"""

import asyncio
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import pooch

from bionemo.core.cache_dir import BIONEMO_CACHE_DIR
from bionemo.core.command import print_result
from bionemo.core.data import _archives as archives
from bionemo.core.data._download_cache import cached_path, lock, make_cache_dir, remember_path
from bionemo.core.data._http_download import DownloadError, download_http, hub_request
from bionemo.core.data._load_command import download_command, print_resources, run_download
from bionemo.core.data.download_config import DownloadConfig, SourceOptions
from bionemo.core.data.resource import Resource, get_all_resources
from bionemo.core.data.unpack import unpack_tar_file
from bionemo.core.errors import EXIT_BAD_INPUT, BionemoError, ChecksumError, MissingDependencyError, ResourceError
from bionemo.core.files import move_into_place
from bionemo.core.optional_deps import require


__all__ = ("NGCDownloader", "default_ngc_client", "default_pbss_client", "load", "print_resources")

logger = logging.getLogger(__name__)

DEFAULT_SOURCE = cast("SourceOptions", os.environ.get("BIONEMO_DATA_SOURCE") or "auto")  # checked on use

_PUBLIC_SOURCES: tuple[SourceOptions, ...] = ("https", "hf", "ngc")
_SOURCE_WORDS = {"https": "an HTTPS", "hf": "a Hugging Face", "ngc": "an NGC", "pbss": "a PBSS"}
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz")


class RequestError(ResourceError):
    """A tag or source that does not exist was asked for."""

    exit_code = EXIT_BAD_INPUT


def load(
    model_or_data_tag: str,
    source: SourceOptions = DEFAULT_SOURCE,
    resources: dict[str, Resource] | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """Find a file of the catalogue in the cache, or download it there.

    Args:
        model_or_data_tag: For example ``"esm2/650m:2.0"``; ``download_bionemo_data --list-resources`` lists them.
        source: Where to download from; ``"auto"`` takes the first that the resource has of https, hf and ngc.
        resources: The catalogue; this package's own unless given.
        cache_dir: The cache; ``BIONEMO_CACHE_DIR`` unless given.

    Returns:
        The file, decompressed where its name ends in .gz, .bz2 or .xz, or the folder that an archive was unpacked to.

    Raises:
        ResourceError: The tag or the source is unknown, the download fails, or ``BIONEMO_OFFLINE=1`` is set and the
            file is not in the cache; a ValueError.
        ChecksumError: What came has another digest than the recorded one.
        PermissionError: The cache cannot be made.
    """
    catalogue = get_all_resources() if resources is None else resources
    resource = catalogue.get(model_or_data_tag)
    if resource is None:
        raise RequestError(f"Resource '{model_or_data_tag}' not found.")
    if resource.hub is not None:
        raise RequestError(
            f"Resource '{resource.tag}' is a model of the Hugging Face Hub, which is downloaded when it is opened by "
            f"its name: {resource.opens or resource.hub}"
        )
    source = _choose_source(resource, source)
    folder = Path(cache_dir or BIONEMO_CACHE_DIR)
    file = folder / f"{resource.sha256 or _tag_prefix(resource)}-{resource.filename}"
    cached = cached_path(file)
    if cached is not None:
        return cached
    make_cache_dir(folder)
    with lock(file):
        cached = cached_path(file)  # another process may have finished it meanwhile
        if cached is None:
            if not (file.exists() and resource.sha256 and pooch.file_hash(str(file)) == resource.sha256):
                _download(resource, source, file)
            cached = _process(resource, file).absolute()
            remember_path(file, cached)
    return cached


@dataclass(frozen=True)
class NGCDownloader:
    """Downloads one file of NVIDIA's NGC registries; called the way pooch calls its downloaders."""

    filename: str
    ngc_registry: Literal["model", "resource"]

    def __call__(self, url: str, output_file: str | Path, pooch: Any) -> None:
        """Download ``self.filename`` of ``url``, ``[org/[team/]]name[:version]``, to ``output_file``."""
        del pooch
        client = default_ngc_client()
        download = getattr(client.registry, self.ngc_registry).download_version
        name, _, version = url.rpartition("/")[2].partition(":")
        _allow_nested_event_loop()
        with tempfile.TemporaryDirectory(dir=Path(output_file).parent, prefix=".ngc-") as folder:
            try:
                download(url, folder, file_patterns=[self.filename])
            except Exception as error:
                raise DownloadError(f"NGC {url}: download failed: {type(error).__name__}: {error}") from error
            # NGC names its folder after the version that it resolved, also where none was asked for.
            found = [
                path
                for path in Path(folder).glob(f"{name}_v{version or '*'}/**/*")
                if path.relative_to(folder).as_posix().partition("/")[2] == self.filename
            ]
            if not found:
                raise DownloadError(f"NGC {url}: has no file '{self.filename}'.")
            shutil.move(found[0], output_file)


def default_ngc_client(use_guest_if_api_key_invalid: bool = True) -> Any:
    """Log in to NGC with the configured key, or as a guest.

    Args:
        use_guest_if_api_key_invalid: Whether an invalid key means guest access; else its ValueError is raised.

    Raises:
        MissingDependencyError: ngcsdk is not installed.
    """
    ngcsdk = require("ngcsdk", extra="bionemo-core[ngc]")
    client = ngcsdk.Client()
    try:
        client.configure()
    except ValueError as error:
        if not use_guest_if_api_key_invalid:
            raise
        logger.warning("NGC: the configured API key is invalid (%s); going on as a guest.", error)
        guest = {"api_key": "no-apikey", "org_name": "no-org", "team_name": "no-team"}
        client = ngcsdk.Client()
        try:
            client.configure(**guest)
        except TypeError:  # releases before 4 ask for the ACE too
            client.configure(**guest, ace_name="no-ace")
        client.api_key = "no-apikey"
    return client


def _allow_nested_event_loop() -> None:
    """Let ngcsdk start an event loop inside one that runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    require("nest_asyncio", extra="bionemo-core[ngc]").apply()


def default_pbss_client() -> Any:
    """Build the S3 client for the company-internal store.

    Raises:
        MissingDependencyError: boto3 is not installed.
    """
    try:
        boto3 = require("boto3", extra="bionemo-core[pbss]")
        config = require("botocore.config", extra="bionemo-core[pbss]").Config(
            retries={"max_attempts": 10, "mode": "standard"}
        )
    except MissingDependencyError as error:
        raise MissingDependencyError("boto3 is required to download from PBSS.") from error
    return boto3.client("s3", endpoint_url="https://pbss.s8k.io", config=config)


def _s3_download(url: str, output_file: str | Path, pooch: Any) -> None:
    """Download ``s3://bucket/key``; called the way pooch calls its downloaders."""
    del pooch
    bucket, _, key = url.removeprefix("s3://").partition("/")
    client = default_pbss_client()
    try:
        client.download_file(bucket, key, str(output_file))
    except Exception as error:
        raise DownloadError(f"{url}: download failed: {type(error).__name__}: {error}") from error


class _SafeUntar(pooch.Untar):  # type: ignore[misc]  # pooch has no types
    """Unpacks a tar of which every member has been checked."""

    max_unpacked_bytes: int | None = None

    def _extract_file(self, fname: str | Path, extract_dir: str | Path) -> None:
        unpack_tar_file(fname, extract_dir, max_unpacked_bytes=self.max_unpacked_bytes)


class _SafeUnzip(pooch.Unzip):  # type: ignore[misc]  # pooch has no types
    """Unpacks a zip of which every member has been checked."""

    max_unpacked_bytes: int | None = None

    def _extract_file(self, fname: str | Path, extract_dir: str | Path) -> None:
        with archives.open_zip(Path(fname)) as archive:
            _validate_archive_members(archive.namelist(), extract_dir)
            archives.unpack_zip(Path(fname), archive, Path(extract_dir), max_unpacked_bytes=self.max_unpacked_bytes)


def _validate_archive_members(names: Sequence[str], extract_dir: str | Path) -> None:
    archives.check_member_names(names, Path(extract_dir))


def _get_processor(filename: str, unpack: bool | None, decompress: bool | None) -> Any:
    """Choose by the end of the file's name what is done with it: a pooch processor, or None."""
    name = filename.lower()
    if unpack is not False and name.endswith(_TAR_SUFFIXES):
        return _SafeUntar()
    if unpack is not False and name.endswith(".zip"):
        return _SafeUnzip()
    if decompress is not False and name.endswith(_COMPRESSED_SUFFIXES) and not name.endswith(_TAR_SUFFIXES):
        return _decompress
    return None


def _decompress(fname: str, action: str, pooch: Any, max_unpacked_bytes: int | None = None) -> str:
    del action, pooch
    archives.decompress(Path(fname), Path(f"{fname}.decomp"), max_unpacked_bytes=max_unpacked_bytes)
    return f"{fname}.decomp"


def _tag_prefix(resource: Resource) -> str:
    return hashlib.sha256(f"tag:{resource.tag}".encode()).hexdigest()[:16]


def _process(resource: Resource, file: Path) -> Path:
    processor = _get_processor(resource.filename, resource.unpack, resource.decompress)
    if processor is None:
        return file
    if isinstance(processor, pooch.processors.ExtractorProcessor):
        target = Path(f"{file}{processor.suffix}")
        processor.max_unpacked_bytes = resource.max_unpacked_bytes
        processor._extract_file(str(file), str(target))
        return target
    return Path(processor(str(file), "download", None, resource.max_unpacked_bytes))


def _choose_source(resource: Resource, source: str) -> SourceOptions:
    if source not in get_args(SourceOptions):
        raise RequestError(f"Source '{source}' not supported.")
    if source == "auto":
        for public in _PUBLIC_SOURCES:
            if getattr(resource, public):
                return public
        raise RequestError(f"Resource '{resource.tag}' has no public source, only PBSS: ask for it by source 'pbss'.")
    if not getattr(resource, source):
        raise RequestError(f"Resource '{resource.tag}' does not have {_SOURCE_WORDS[source]} URL.")
    return cast("SourceOptions", source)  # compared with its values above


def _download(resource: Resource, source: SourceOptions, file: Path) -> None:
    """Download a resource to its place in the cache, checking the digest on the way."""
    if os.environ.get("BIONEMO_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise DownloadError(
            f"Resource '{resource.tag}' is not in the cache {file.parent}, and BIONEMO_OFFLINE forbids downloads. "
            "Download it once without."
        )
    partial = file.with_name(f".{file.name}.partial")
    if resource.sha256 is None:
        logger.warning("Resource '%s' has no recorded sha256: what is downloaded stays unchecked.", resource.tag)
        partial.unlink(missing_ok=True)  # a beginning can only be trusted where the whole is checked
    started_fresh = not partial.exists()
    try:
        _fetch(resource, source, partial)
        _check_digest(resource, partial)
    except ChecksumError:
        if started_fresh:
            raise
        # The beginning came from an earlier call, perhaps of another file: once more from the start.
        _fetch(resource, source, partial)
        _check_digest(resource, partial)
    move_into_place(partial, file)


def _fetch(resource: Resource, source: SourceOptions, partial: Path) -> None:
    if source == "ngc":
        assert resource.ngc is not None
        assert resource.ngc_registry is not None
        NGCDownloader(resource.filename, resource.ngc_registry)(resource.ngc, partial, None)
        return
    if source == "pbss":
        assert resource.pbss is not None
        _s3_download(resource.pbss, partial, None)
        return
    requests = [hub_request(*resource.hf_location())] if source == "hf" else [(url, {}) for url in resource.https]
    for url, headers in requests[:-1]:
        try:
            return download_http(url, partial, headers=headers)
        except DownloadError as error:
            logger.warning("Resource '%s': %s Trying the next URL.", resource.tag, error)
    try:
        download_http(requests[-1][0], partial, headers=requests[-1][1])
    except DownloadError as error:
        raise DownloadError(f"Resource '{resource.tag}': {error}") from error


def _check_digest(resource: Resource, partial: Path) -> None:
    if resource.sha256 is None:
        return
    actual = pooch.file_hash(str(partial))
    if actual != resource.sha256:
        partial.unlink()
        raise ChecksumError(
            f"Resource '{resource.tag}': the downloaded file has sha256 {actual}, expected {resource.sha256}. "
            "It was removed; try again or another source."
        )


def main(
    download_all: bool,
    list_resources: bool,
    artifact_name: str | None,
    source: Any = None,
    cache_dir: Path | None = None,
) -> str | None:
    """Do what ``download_bionemo_data`` does; kept for callers of BioNeMo 2.

    Returns:
        What went wrong, in one text, or None.
    """
    try:
        config = DownloadConfig(
            artifact=artifact_name,
            list_resources=list_resources,
            download_all=download_all,
            source=source,
            cache_dir=cache_dir,
        )
        path = download(config)
    except BionemoError as error:
        return str(error)
    if path is not None:
        print_result(path)
    return None


def download(config: DownloadConfig) -> Path | None:
    """Do what ``download_bionemo_data`` was asked for; see :func:`bionemo.core.data._load_command.run_download`."""
    return run_download(config, load, default_source=DEFAULT_SOURCE)


entrypoint = download_command(download)
"""``download_bionemo_data`` at its BioNeMo 2 compatible place."""


if __name__ == "__main__":
    sys.exit(entrypoint())
