# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face Hub on the loopback interface: what huggingface_hub asks for, answered from folders of a test."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from bionemo.testing.http_server import OK, Fault, LoopbackServer, Request


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest


class HubServer(LoopbackServer):
    """Serve model repositories; point ``HF_ENDPOINT`` at ``.url``.

    Example:
        >>> with HubServer() as hub:
        ...     hub.publish("owner/model", folder)
        ...     subprocess.run(command, env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(cache)})
    """

    def use(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        """Make huggingface_hub of this process ask this server and keep its cache in a folder, for one test."""
        import huggingface_hub.constants
        import huggingface_hub.file_download

        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", self.url)
        for module in (huggingface_hub.constants, huggingface_hub.file_download):  # the latter in releases before 1.0
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(proxy, raising=False)

    def publish(
        self,
        repo: str,
        folder: Path,
        *,
        branch: str = "main",
        redirect: bool = False,
        faults: Mapping[str, tuple[Fault, ...]] | None = None,
    ) -> str:
        """Offer the files of a folder as the newest commit of a branch.

        Args:
            repo: "owner/name".
            folder: Every file below it is part of the repository.
            branch: A name that the commit can be asked for by, beside its own.
            redirect: Whether large files are elsewhere, as on the real Hub: the answer is then a redirect.
            faults: File name to what its first downloads meet.

        Returns:
            The commit, a function of the content.
        """
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(files.items()):
            digest.update(name.encode() + hashlib.sha256(content).digest())
        commit = digest.hexdigest()
        info = {"id": repo, "modelId": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        answer = json.dumps(info).encode()
        if branch == "main":
            self.serve(f"/api/models/{repo}", answer)
        for revision in (branch, commit):
            self.serve(f"/api/models/{repo}/revision/{revision}", answer)
            for name, content in files.items():
                path = f"/{repo}/resolve/{revision}/{name}"
                self._publish_file(path, commit, content, redirect, (faults or {}).get(name, ()))
        return commit

    def _publish_file(self, path: str, commit: str, content: bytes, redirect: bool, faults: tuple[Fault, ...]) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"X-Repo-Commit": commit, "ETag": etag}
        if not redirect:
            self.serve(path, content, *faults, headers=headers)
            return
        store = f"/cdn{path}"
        self.serve(store, content, *faults, headers={"ETag": etag})
        # Another name of the same server: huggingface_hub itself follows redirects that stay on the host.
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
        self.serve(
            path,
            content,
            always=Fault(redirect_to=self.url.replace("127.0.0.1", "localhost") + store),
            headers=headers,
        )

    def _take(self, request: Request) -> tuple[bytes | None, Fault]:
        """Keep the faults of files for their downloads: releases ask for headers a different number of times."""
        if request.method == "HEAD":
            with self._lock:
                self.requests.append(request)
                return self._contents.get(request.path), self._always.get(request.path, OK)
        return super()._take(request)

    def refuse(self, repo: str, status: int, code: str = "", *, revision: str | None = None) -> None:
        """Answer questions about a repository, or one revision, with an error status and the Hub's code for it."""
        path = f"/api/models/{repo}" + ("" if revision is None else f"/revision/{revision}")
        self.serve(path, always=Fault(status=status), headers={"X-Error-Code": code} if code else {})

    def files_asked_for(self) -> list[str]:
        """Names of all files that were asked for so far, each once, in alphabetical order."""
        paths = [request.path for request in self.requests if "/resolve/" in request.path]
        return sorted({path.split("/resolve/")[1].split("/", 1)[1] for path in paths})
