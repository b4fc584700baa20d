# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Names of models against a real HTTP server: redirects, torn and refused answers, kills, moved branches."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints import hub
from bionemo.llm.checkpoints.hub import HubName, parse_hub_name
from bionemo.llm.checkpoints.model_source import locate_model
from bionemo.testing.http_server import Fault
from bionemo.testing.hub_server import HubServer


pytestmark = pytest.mark.nemo_env

REPO = "owner/model"


def write_repository(folder: Path, value: float = 1.0, size: int = 20_000) -> Path:
    """Two models: one of one file in the root, one of two shards in a subfolder; and files that nobody needs."""
    for model in (folder, folder / "sub"):
        model.mkdir(parents=True, exist_ok=True)
        (model / "config.json").write_text('{"model_type": "esm"}')
        (model / "pytorch_model.bin").write_bytes(b"not needed")
        (model / "training_args.bin").write_bytes(b"not needed")
    save_file({"w": torch.full((size,), value)}, folder / "model.safetensors")
    for shard in "12":
        save_file({f"w{shard}": torch.full((size,), value)}, folder / f"sub/model-{shard}.safetensors")
    weight_map = {"w1": "model-1.safetensors", "w2": "model-2.safetensors"}
    (folder / "sub/model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch):
    with HubServer() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        server.use(monkeypatch, tmp_path / "cache")
        monkeypatch.setattr(hub, "RETRY_WAITS_S", (0.01, 0.01, 0.01))
        yield server


def value_of(folder: Path, name: str = "model.safetensors") -> float:
    (tensor,) = load_file(folder / name).values()
    return tensor[0].item()


def refused(name: str, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as error:
        locate_model(name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_only_the_needed_files_are_downloaded_and_once(server: HubServer, tmp_path: Path) -> None:
    commit = server.publish(REPO, write_repository(tmp_path / "repo"), redirect=True)
    located = locate_model(REPO)
    assert located.path.parts[-2:] == ("snapshots", commit)
    assert value_of(located.path) == 1.0
    assert server.files_asked_for() == ["config.json", "model.safetensors"]
    sub = locate_model(f"{REPO}:sub")
    assert value_of(sub.path, "model-2.safetensors") == 1.0
    shards = [f"sub/{name}" for name in ("config.json", "model-1.safetensors", "model-2.safetensors")]
    assert server.files_asked_for()[2:] == [*shards, "sub/model.safetensors.index.json"]
    downloads = [request.path for request in server.requests if request.path.startswith("/cdn/")]
    locate_model(REPO)
    assert [request.path for request in server.requests if request.path.startswith("/cdn/")] == downloads


@pytest.mark.parametrize("redirect", [False, True])
def test_a_torn_and_a_busy_answer_are_asked_for_again(redirect: bool, server: HubServer, tmp_path: Path) -> None:
    faults = {"model.safetensors": (Fault(truncate_after=30_000), Fault(status=503), Fault(status=429))}
    server.publish(REPO, write_repository(tmp_path / "repo"), redirect=redirect, faults=faults)
    server.serve(f"/api/models/{REPO}", server._contents[f"/api/models/{REPO}"], Fault(status=503), Fault(status=429))
    assert value_of(locate_model(REPO).path) == 1.0
    assert downloads(server, "model.safetensors") == 4


def test_a_moved_branch_gives_the_new_model_and_a_pinned_commit_the_old(server: HubServer, tmp_path: Path) -> None:
    first = server.publish(REPO, write_repository(tmp_path / "repo", 1.0))
    assert value_of(locate_model(REPO).path) == 1.0
    server.publish(REPO, write_repository(tmp_path / "repo", 2.0))
    assert value_of(locate_model(REPO).path) == 2.0
    assert value_of(locate_model(f"{REPO}@{first}").path) == 1.0
    server.publish(REPO, write_repository(tmp_path / "repo", 3.0), branch="next")
    assert value_of(locate_model(f"{REPO}@next").path) == 3.0
    assert value_of(locate_model(REPO).path) == 2.0


def test_refusals_are_one_line_that_says_what_to_do(server: HubServer, tmp_path: Path) -> None:
    server.refuse("owner/private", 401, "RepoNotFound")
    refused("owner/private", "no such repository, or a private one.*HF_TOKEN")
    server.refuse("owner/expired", 401)
    refused("owner/expired", "answers 401. Set HF_TOKEN")
    server.refuse("owner/gated", 403, "GatedRepo")
    refused("owner/gated", "access on request.*HF_TOKEN")
    refused("owner/nowhere", "no such repository|answers 404")
    server.refuse("owner/busy", 503)
    refused("owner/busy", r"not in the cache .*cache, and the server cannot be asked.*HF_HOME")
    server.publish(REPO, write_repository(tmp_path / "repo"))
    server.serve(
        f"/api/models/{REPO}/revision/v9", always=Fault(status=404), headers={"X-Error-Code": "RevisionNotFound"}
    )
    refused(f"{REPO}@v9", "no such revision")
    refused(f"{REPO}:nothing", "the folder nothing holds no config.json. Name one of its models: owner/model:sub")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text("{}")
    server.publish("owner/other", tmp_path / "other")
    refused("owner/other", "holds a config.json but none of model.safetensors")


def test_without_network_the_cache_is_used_or_named(server: HubServer, tmp_path: Path, monkeypatch, caplog) -> None:
    server.publish(REPO, write_repository(tmp_path / "repo"))
    path = locate_model(REPO).path
    server.refuse(REPO, 503)
    assert locate_model(REPO).path == path
    assert "The cache has commit" in caplog.text
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(server.requests)
    assert locate_model(REPO).path == path
    refused(f"{REPO}:sub", r"not in the cache .*cache, and HF_HUB_OFFLINE is set.*HF_HOME")
    assert len(server.requests) == asked
    (path / "model.safetensors").unlink()
    refused(REPO, "holds a config.json but none of model.safetensors")


def test_a_killed_download_keeps_whole_files_and_is_no_model_before(
    server: HubServer, tmp_path: Path, monkeypatch
) -> None:
    """huggingface_hub 1 begins a file anew that was cut off by a kill; those before it are not downloaded again."""
    slow = {"sub/model-2.safetensors": (Fault(bytes_per_s=1000.0),)}
    server.publish(REPO, write_repository(tmp_path / "repo"), faults=slow)
    name = f"{REPO}:sub"
    code = f"from bionemo.llm.checkpoints.model_source import locate_model; print(locate_model({name!r}).path)"
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (downloads(server, "model-2") and list((tmp_path / "cache").rglob("*.incomplete"))):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refused(name, "model-2.safetensors: not in the cache .*cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert value_of(locate_model(name).path, "model-2.safetensors") == 1.0
    assert (downloads(server, "model-1"), downloads(server, "model-2")) == (1, 2)


def downloads(server: HubServer, file: str) -> int:
    return sum(request.method == "GET" and file in request.path for request in server.requests)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("facebook/esm2_t6_8M_UR50D", HubName("facebook/esm2_t6_8M_UR50D")),
        ("a/b@v1.0", HubName("a/b", "v1.0")),
        ("a/b:c/d", HubName("a/b", None, "c/d")),
        ("a/b@refs/pr/3:c", HubName("a/b", "refs/pr/3", "c")),
        ("a", None),
        ("/a/b", None),
        ("./a/b", None),
        ("a/b/c", None),
        ("a/../b", None),
        ("a/b:../c", None),
        ("a/b@", None),
        ("", None),
    ],
)
def test_names_are_taken_apart(text: str, expected: HubName | None) -> None:
    assert parse_hub_name(text) == expected


def test_an_existing_path_wins_over_a_name(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    Path("owner/model@1:x").mkdir(parents=True)
    with caplog.at_level("INFO"):
        assert locate_model("owner/model@1:x").path == Path("owner/model@1:x")
    assert "wins over a name" in caplog.text
    refused("no/such/path", "no such directory or file, and no name on the Hugging Face Hub")


def test_a_run_stands_for_its_best_checkpoint_or_its_last(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "step-00000010").mkdir(parents=True)
    (checkpoints / "step-00000020").mkdir()
    assert locate_model(tmp_path).path.name == "step-00000020"
    (checkpoints / "best").symlink_to("step-00000010")
    assert locate_model(tmp_path).path.name == "step-00000010"
    for path in checkpoints.iterdir():
        path.unlink() if path.is_symlink() else path.rmdir()
    refused(str(tmp_path), "a run that has no checkpoint yet")
