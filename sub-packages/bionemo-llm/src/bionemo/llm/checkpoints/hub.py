# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Models of the Hugging Face Hub by name: only the files that are needed, through huggingface_hub and its cache.

``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what they mean everywhere.
"""

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE
from bionemo.llm.checkpoints.weight_files import (
    PICKLED_WEIGHTS_INDEX_FILE,
    WEIGHTS_FILES,
    WEIGHTS_INDEX_FILE,
    one_line,
    read_weight_map,
)


logger = logging.getLogger(__name__)

RETRY_WAITS_S = (1.0, 4.0, 16.0)
"""Seconds before each further try where a server is busy (429, 5xx) or a connection breaks."""
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:\s]+))?(?::(?P<subfolder>[^\s:]+))?")
ResultT = TypeVar("ResultT")


class UnreachableError(CheckpointError):
    """The Hub gives no answer; the cache may have what is needed."""


class HubName(NamedTuple):
    """``owner/name[@revision][:subfolder]``, taken apart.

    Attributes:
        repo: "owner/name".
        revision: Branch, tag or commit; None: the repository's main branch.
        subfolder: Folder of one model in a repository of several; empty: the root.
    """

    repo: str
    revision: str | None = None
    subfolder: str = ""

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{self.repo}{revision}" + (f":{self.subfolder}" if self.subfolder else "")


def parse_hub_name(text: str) -> HubName | None:
    """Parse the name of a model on the Hub; None where the text is none.

    Example:
        >>> parse_hub_name("ctheodoris/Geneformer@main:Geneformer-V2-104M")
        HubName(repo='ctheodoris/Geneformer', revision='main', subfolder='Geneformer-V2-104M')
    """
    found = _NAME.fullmatch(text)
    if found is None or ".." in text:
        return None
    return HubName(found["repo"], found["revision"], (found["subfolder"] or "").strip("/"))


class HubRepository:
    """One revision of a repository: its files are downloaded one by one, when they are asked for.

    Args:
        name: Repository and revision; the subfolder is where the model lies.

    Raises:
        CheckpointError: There is no such repository or revision, it needs a token, or the server does not answer and
            the cache has no copy.
    """

    def __init__(self, name: HubName) -> None:
        self.name = name
        self.revision = name.revision or "main"
        self.files = self._list_files()

    def fetch(self, file: str) -> Path:
        """Download a file, unless the cache has it, and return its path in the cache.

        Raises:
            CheckpointError: There is no such file, or it cannot be downloaded.
        """
        from huggingface_hub import hf_hub_download

        offline = self.files is None

        def download() -> str:
            return hf_hub_download(self.name.repo, file, revision=self.revision, local_files_only=offline)

        return Path(hub_answer(download, f"{self.name}: {file}"))

    def has(self, file: str) -> bool:
        """Return whether the repository has a file; offline: whether the cache has it."""
        return file in self.files if self.files is not None else self._cached(file) is not None

    def fetch_model(self) -> Path:
        """Download configuration and weights of the model and return their folder.

        Raises:
            CheckpointError: The folder holds no model; the message lists those that do.
        """
        folder = f"{self.name.subfolder}/" if self.name.subfolder else ""
        if not self.has(folder + CONFIG_FILE):
            raise CheckpointError(f"{self.name}: {self._no_model()}")
        config = self.fetch(folder + CONFIG_FILE)
        self.revision = commit_of(config)  # further files are of this commit, even if the branch moves meanwhile
        weights = next((file for file in WEIGHTS_FILES if self.has(folder + file)), None)
        if weights is None:
            raise CheckpointError(f"{self.name}: holds a config.json but none of {', '.join(WEIGHTS_FILES)}.")
        needed = {weights}
        if weights in (WEIGHTS_INDEX_FILE, PICKLED_WEIGHTS_INDEX_FILE):
            needed = set(read_weight_map(self.fetch(folder + weights)).values())
        for file in sorted(needed):
            self.fetch(folder + file)
        logger.info("%s: commit %s of %s, in %s", self.name, self.revision[:12], self.name.repo, config.parent)
        return config.parent

    def _list_files(self) -> frozenset[str] | None:
        """Return the names of all files, or None where only the cache can be asked."""
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE:
            self._only_cached(None)
            return None

        def ask() -> frozenset[str]:
            info = HfApi().model_info(self.name.repo, revision=self.name.revision)
            return frozenset(file.rfilename for file in info.siblings or ())

        try:
            return hub_answer(ask, str(self.name))
        except UnreachableError as error:
            self._only_cached(error)
            return None

    def _only_cached(self, error: CheckpointError | None) -> None:
        """Use the cache's copy, with a warning where the server could not be asked."""
        from huggingface_hub import constants

        folder = f"{self.name.subfolder}/" if self.name.subfolder else ""
        config = self._cached(folder + CONFIG_FILE)
        if config is None:
            raise CheckpointError(
                f"{self.name}: not in the cache {constants.HF_HUB_CACHE}, and "
                f"{'HF_HUB_OFFLINE is set' if error is None else 'the server cannot be asked'}. Download it once "
                "with a connection, or set HF_HOME to the folder that has it."
            ) from error
        if error is not None:
            logger.warning("%s The cache has commit %s, which is used.", error, commit_of(config)[:12])

    def _cached(self, file: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.name.repo, file, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def _no_model(self) -> str:
        ending = f"/{CONFIG_FILE}"
        folders = sorted(file.removesuffix(ending) for file in self.files or () if file.endswith(ending))
        where = f"the folder {self.name.subfolder}" if self.name.subfolder else "its root"
        if not folders:
            return f"{where} holds no {CONFIG_FILE}, so it is no model in Hugging Face layout."
        names = ", ".join(f"{self.name.repo}:{folder}" for folder in folders)
        return f"{where} holds no {CONFIG_FILE}. Name one of its models: {names}."


def commit_of(path: Path) -> str:
    """Return the commit of a file in the cache, ``…/snapshots/<commit>/…``."""
    parts = path.parts
    return parts[len(parts) - parts[::-1].index("snapshots")]


def hub_answer(ask: Callable[[], ResultT], what: str) -> ResultT:
    """Ask the Hub, again where it is busy, and turn what it refuses into one line.

    Args:
        ask: Sends the request.
        what: The model, or a file of it, for the message.

    Raises:
        UnreachableError: No answer came, or the server is busy for long.
        CheckpointError: The answer is no.
    """
    for wait_s in (*RETRY_WAITS_S, None):
        try:
            return ask()
        except transport_errors() as error:
            refusal = refusal_of(error, what)
            if wait_s is None or not isinstance(refusal, UnreachableError):
                raise refusal from error
            logger.warning("%s Trying again in %g s.", refusal, wait_s)
            time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


def transport_errors() -> tuple[type[Exception], ...]:
    """Return what huggingface_hub raises: its own errors and those of the HTTP client that its release uses."""
    import requests
    from huggingface_hub.errors import HFValidationError

    try:
        import httpx
    except ImportError:  # huggingface_hub before 1.0 does without
        return (OSError, requests.RequestException, HFValidationError)
    return (OSError, requests.RequestException, HFValidationError, httpx.HTTPError)


def refusal_of(error: Exception, what: str) -> CheckpointError:
    """Describe in one line what the Hub refuses; an UnreachableError where another try may help."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, transport_errors()):
        return refusal_of(error.__cause__, what)  # the server was asked first, and this is its answer
    known: dict[type[Exception], str] = {
        GatedRepoError: "its owner gives access on request. Ask for it on its page, and set HF_TOKEN.",
        RepositoryNotFoundError: "no such repository, or a private one. Check the name, or set HF_TOKEN.",
        RevisionNotFoundError: "no such revision. Name a branch, tag or commit of the repository.",
        LocalEntryNotFoundError: f"not in the cache {constants.HF_HUB_CACHE}. Download it once with a connection.",
        EntryNotFoundError: "no such file in the repository.",
        HFValidationError: f"no name of a repository ({one_line(error)}).",
    }
    for kind, text in known.items():
        if isinstance(error, kind):
            return CheckpointError(f"{what}: {text}")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return CheckpointError(
            f"{what}: {constants.ENDPOINT} answers {status}. Set HF_TOKEN to a token that may read it."
        )
    if status is not None and status < 500 and status != 429:
        return CheckpointError(f"{what}: {constants.ENDPOINT} answers {status}.")
    answer = f"answers {status}" if status is not None else f"cannot be reached ({one_line(error)})"
    return UnreachableError(f"{what}: {constants.ENDPOINT} {answer}.")
