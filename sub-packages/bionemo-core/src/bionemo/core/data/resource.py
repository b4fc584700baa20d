# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue of files that can be downloaded: what each is, where it lies, and its digest."""

import functools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import pydantic
import yaml

from bionemo.core.errors import ResourceError


__all__ = ("Resource", "get_all_resources")

_NGC = re.compile(r"(?:[\w.-]+/(?:[\w.-]+/)?)?[\w.-]+(?::[\w.-]+)?")
_HF = re.compile(r"(?P<repo>(?:datasets/)?[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:]+))?:(?P<path>[^:].*)")
_HUB = re.compile(r"[\w.-]+/[\w.-]+(?:@[^:\s]+)?(?::[^\s:]+)?")
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

Sha256 = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
Owner = Annotated[str, pydantic.StringConstraints(pattern=r"^[^<>]+ <[^<>@\s]+@[^<>@\s]+>$")]


class ResourceListError(ResourceError, TypeError):
    """A catalogue file holds something else than a list."""


class Resource(pydantic.BaseModel):
    """One downloadable file, or one model that is opened by its name on the Hugging Face Hub.

    Attributes:
        tag: ``<catalogue>/<name>``.
        ngc: ``[org/[team/]]name[:version]`` on NVIDIA's NGC.
        ngc_registry: Which of NGC's registries has it.
        pbss: ``s3://bucket/key`` in a company-internal store.
        https: One URL, or several that hold the same file and are tried in turn.
        hf: ``owner/repo[@revision]:path/in/repo`` on the Hugging Face hub, ``datasets/owner/repo...`` for a dataset.
        hub: Model on the Hugging Face Hub, ``owner/repo[@revision][:subfolder]``: opened by this name, not downloaded
            as a file; excludes all other sources.
        filename: Name of the file; needed where NGC alone has it.
        sha256: Digest of the file as downloaded; None leaves it unchecked.
        owner: ``Name <email>``.
        description: What it is.
        size: Of the file or the weights, in words; None: not known.
        license: Identifier, or where it stands.
        opens: Command line that opens it, or words that say that nothing here does.
        unpack: False keeps an archive as it is; absent, its name decides.
        decompress: False keeps a compressed file as it is; absent, its name decides.
        max_unpacked_bytes: Bound for what it unpacks to; absent: 64 MiB or 100 times its size.
    """

    model_config = pydantic.ConfigDict(use_attribute_docstrings=False, extra="forbid", frozen=True)

    tag: str
    ngc: str | None = None
    ngc_registry: Literal["model", "resource"] | None = None
    pbss: Annotated[str, pydantic.StringConstraints(pattern=r"^s3://[^/]+/.*[^/]$")] | None = None
    https: tuple[str, ...] = ()
    hf: str | None = None
    hub: str | None = None
    filename: Annotated[str, pydantic.StringConstraints(pattern=r"^[^/\\]+$")] = ""
    sha256: Sha256 | None
    owner: Owner | None = None
    description: str | None = None
    size: str | None = None
    license: str | None = None
    opens: str | None = None
    unpack: Literal[False] | None = None
    decompress: Literal[False] | None = None
    max_unpacked_bytes: pydantic.PositiveInt | None = None

    @pydantic.field_validator("tag")
    @classmethod
    def _check_tag(cls, tag: str) -> str:
        if tag.count("/") != 1 or not all(tag.split("/")):
            raise ValueError(f"Tag should have exactly one '/', as in catalogue/name, but got '{tag}'")
        return tag

    @pydantic.field_validator("ngc")
    @classmethod
    def _check_ngc(cls, ngc: str | None) -> str | None:
        if ngc is not None and not _NGC.fullmatch(ngc):
            raise ValueError("Pattern should be in format [org/[team/]]name[:version]")
        return ngc

    @pydantic.field_validator("https", mode="before")
    @classmethod
    def _check_https(cls, https: Any) -> Any:
        urls = (https,) if isinstance(https, str) else tuple(https or ())
        for url in urls:
            parts = urlsplit(str(url))
            # Plain HTTP is fine inside one machine: mirrors behind a tunnel, tests.
            allowed = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS)
            if not allowed or not parts.path.strip("/"):
                raise ValueError(f"URL should be https://host/path, but got '{url}'")
        return urls

    @pydantic.field_validator("hf")
    @classmethod
    def _check_hf(cls, hf: str | None) -> str | None:
        if hf is not None and not _HF.fullmatch(hf):
            raise ValueError("Pattern should be in format owner/repo[@revision]:path/in/repo")
        return hf

    @pydantic.field_validator("hub")
    @classmethod
    def _check_hub(cls, hub: str | None) -> str | None:
        if hub is not None and not _HUB.fullmatch(hub):
            raise ValueError("Pattern should be in format owner/repo[@revision][:subfolder]")
        return hub

    @pydantic.model_validator(mode="after")
    def _check_sources(self) -> "Resource":
        if self.hub is not None:
            if self.https or self.hf or self.ngc or self.pbss or self.filename:
                raise ValueError(f"hub excludes other sources and a filename: {self.tag}")
            return self
        if self.ngc is not None and self.ngc_registry is None:
            raise ValueError(f"ngc_registry must be provided if ngc is not None: {self.tag}")
        places = [*(unquote(urlsplit(url).path) for url in self.https[:1]), self.hf, self.pbss]
        named = [place.rpartition("/")[2].rpartition(":")[2] for place in places if place]
        if not named and self.ngc is None:
            raise ValueError(f"At least one of https, hf, ngc and pbss must be provided: {self.tag}")
        if not self.filename:
            if not named:
                raise ValueError(f"filename must be provided where ngc is the only source: {self.tag}")
            object.__setattr__(self, "filename", named[0])
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that it has; "hub": it is opened by its name."""
        return tuple(source for source in ("https", "hf", "ngc", "pbss", "hub") if getattr(self, source))

    def hf_location(self) -> tuple[str, str, str]:
        """Repository, revision and path of the file on the Hugging Face hub."""
        match = _HF.fullmatch(self.hf or "")
        assert match is not None
        return match["repo"], match["revision"] or "main", match["path"]


@functools.cache
def get_all_resources(resource_path: Path | None = None) -> dict[str, Resource]:
    """Read the catalogue.

    Args:
        resource_path: Folder with ``.yaml`` and ``.yml`` files; this package's own unless given.

    Returns:
        Each resource by its full tag, ``<file stem>/<tag>``.

    Raises:
        ResourceError: A file is empty, an entry is no mapping or has no tag, or a tag occurs twice.
        TypeError: A file holds something else than a list.
        pydantic.ValidationError: An entry breaks a rule of :class:`Resource`; a ValueError.
    """
    folder = resource_path or Path(__file__).parent / "resources"
    files = sorted(path for pattern in ("*.yaml", "*.yml") for path in folder.glob(pattern))
    resources = [resource for file in files for resource in _read_file(file)]
    repeated = [tag for tag, count in Counter(resource.tag for resource in resources).items() if count > 1]
    if repeated:
        raise ResourceError(f"Duplicate resource tags found!: {sorted(repeated)}")
    return {resource.tag: resource for resource in sorted(resources, key=lambda resource: resource.tag)}


def _read_file(file: Path) -> Iterable[Resource]:
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ResourceError(f"{file}: not valid YAML: {error}") from error
    if entries is None:
        raise ResourceError(f"Empty YAML file: {file.name}")
    if not isinstance(entries, list):
        raise ResourceListError(f"Expected list in YAML file {file.name}, got {type(entries)}")
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ResourceError(f"Resource at index {position} in {file.name} is not a dict: {entry}")
        if "tag" not in entry:
            raise ResourceError(f"Resource at index {position} in {file.name} missing required 'tag' key: {entry}")
        yield Resource(**{**entry, "tag": f"{file.stem}/{entry['tag']}"})
