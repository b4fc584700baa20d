# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from bionemo.core.data import _http_download as http_download
from bionemo.core.data import load as load_module
from bionemo.core.data.download_config import DownloadConfig
from bionemo.core.data.load import NGCDownloader, default_ngc_client, default_pbss_client, load
from bionemo.core.data.resource import Resource
from bionemo.core.errors import BionemoError, ChecksumError
from bionemo.testing.http_server import Fault, LoopbackServer


CONTENT = b"weights " * 5000


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def server():
    with LoopbackServer() as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(http_download, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(http_download, "_LONGEST_WAIT_S", 0.05)
    monkeypatch.delenv("BIONEMO_OFFLINE", raising=False)


def catalogue(url, content=CONTENT, **changes):
    return {"t/x": Resource(**{"tag": "t/x", "https": url, "sha256": digest(content), **changes})}


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_download_then_cache(server, tmp_path):
    resources = catalogue(server.serve("plain.bin", CONTENT))
    path = load("t/x", resources=resources, cache_dir=tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / f"{digest(CONTENT)}-plain.bin"
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == [path.name, f"{path.name}.checked"]
    assert Path((path.parent / f"{path.name}.checked").read_text()) == path
    assert load("t/x", resources=resources, cache_dir=path.parent) == path
    assert len(server.requests_for("plain.bin")) == 1


def test_misbehaving_server(server, tmp_path):
    faults = [Fault(status=503), Fault(truncate_after=1000), Fault(redirect_to="/elsewhere"), Fault(truncate_after=9)]
    server.serve("elsewhere", CONTENT)
    path = load("t/x", resources=catalogue(server.serve("hard", CONTENT, *faults)), cache_dir=tmp_path)
    assert path.read_bytes() == CONTENT


def test_corruption_is_found_and_removed(server, tmp_path):
    url = server.serve("corrupt", CONTENT, Fault(corrupt_at=77))
    with pytest.raises(ValueError, match=f"sha256 [0-9a-f]{{64}}, expected {digest(CONTENT)}") as caught:
        load("t/x", resources=catalogue(url), cache_dir=tmp_path)
    assert isinstance(caught.value, ChecksumError)
    assert visible(tmp_path) == []
    assert load("t/x", resources=catalogue(url), cache_dir=tmp_path).read_bytes() == CONTENT


def test_a_call_goes_on_where_an_earlier_one_gave_up(server, tmp_path):
    url = server.serve("later", CONTENT, Fault(truncate_after=1000), always=Fault(status=503))
    with pytest.raises(BionemoError, match=r"Resource 't/x': .*later: download failed 5 times"):
        load("t/x", resources=catalogue(url), cache_dir=tmp_path)
    server.serve("later", CONTENT)
    num_before = len(server.requests_for("later"))
    assert load("t/x", resources=catalogue(url), cache_dir=tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests_for("later")[num_before:]] == ["bytes=1000-"]


def test_wrong_beginning_of_an_earlier_call_is_thrown_away(server, tmp_path):
    url = server.serve("beginning", CONTENT)
    (tmp_path / f".{digest(CONTENT)}-beginning.partial").write_bytes(b"something else")
    assert load("t/x", resources=catalogue(url), cache_dir=tmp_path).read_bytes() == CONTENT
    assert visible(tmp_path) == [f"{digest(CONTENT)}-beginning", f"{digest(CONTENT)}-beginning.checked"]


def test_missing_file_names_tag_and_url(server, tmp_path):
    url = f"{server.url}/nowhere.bin"
    with pytest.raises(
        ValueError, match=r"^Resource 't/x': .*/nowhere\.bin: the server answered with HTTP status 404"
    ):
        load("t/x", resources=catalogue(url), cache_dir=tmp_path)


def test_mirrors_are_tried_in_turn(server, tmp_path):
    urls = [f"{server.url}/gone.bin", server.serve("mirror.bin", CONTENT)]
    path = load("t/x", resources=catalogue(urls), cache_dir=tmp_path)
    assert path.name.endswith("-gone.bin")
    assert path.read_bytes() == CONTENT


def test_processes_share_one_download(server, tmp_path):
    url = server.serve("shared.bin", CONTENT, always=Fault(bytes_per_s=80_000))
    script = (
        "import sys\nfrom bionemo.core.data.load import load\nfrom bionemo.core.data.resource import Resource\n"
        f"resources = {{'t/x': Resource(tag='t/x', https={url!r}, sha256={digest(CONTENT)!r})}}\n"
        "print(load('t/x', resources=resources, cache_dir=sys.argv[1]))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    paths = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert paths == {str(tmp_path / f"{digest(CONTENT)}-shared.bin")}
    assert len(server.requests_for("shared.bin")) == 1


def test_threads_share_one_download(server, tmp_path):
    resources = catalogue(server.serve("threads.bin", CONTENT, always=Fault(bytes_per_s=200_000)))
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(load("t/x", resources=resources, cache_dir=tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert len(server.requests_for("threads.bin")) == 1


def tar_gz() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("inside/file.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    return buffer.getvalue()


def test_archive_is_unpacked_once(server, tmp_path, monkeypatch):
    content = tar_gz()
    resources = catalogue(server.serve("model-1.0.tar.gz", content), content)
    path = load("t/x", resources=resources, cache_dir=tmp_path)
    assert path == tmp_path / f"{digest(content)}-model-1.0.tar.gz.untar"
    assert (path / "inside" / "file.txt").read_bytes() == b"hello"
    monkeypatch.setattr(load_module, "_get_processor", None)
    assert load("t/x", resources=resources, cache_dir=tmp_path) == path
    kept = catalogue(server.serve("kept.tar.gz", content), content, unpack=False)
    monkeypatch.undo()
    assert load("t/x", resources=kept, cache_dir=tmp_path).name.endswith("-kept.tar.gz")


def test_compressed_file_is_decompressed(server, tmp_path):
    content = gzip.compress(CONTENT)
    resources = catalogue(server.serve("file.csv.gz", content), content)
    path = load("t/x", resources=resources, cache_dir=tmp_path)
    assert path.name == f"{digest(content)}-file.csv.gz.decomp"
    assert path.read_bytes() == CONTENT
    resources = catalogue(server.serve("raw.csv.gz", content), content, decompress=False)
    assert load("t/x", resources=resources, cache_dir=tmp_path).read_bytes() == content


def test_marker_whose_target_is_gone_is_ignored_without_a_second_download(server, tmp_path):
    content = tar_gz()
    resources = catalogue(server.serve("again.tar.gz", content), content)
    path = load("t/x", resources=resources, cache_dir=tmp_path)
    (path / "inside" / "file.txt").unlink()
    (path / "inside").rmdir()
    path.rmdir()
    assert load("t/x", resources=resources, cache_dir=tmp_path) == path
    assert (path / "inside" / "file.txt").exists()
    assert len(server.requests_for("again.tar.gz")) == 1


def test_damaged_file_without_a_marker_is_downloaded_again(server, tmp_path):
    resources = catalogue(server.serve("damaged.bin", CONTENT))
    (tmp_path / f"{digest(CONTENT)}-damaged.bin").write_bytes(b"half")
    assert load("t/x", resources=resources, cache_dir=tmp_path).read_bytes() == CONTENT


def test_without_a_digest_a_warning_is_logged_and_tags_stay_apart(server, tmp_path, caplog):
    url = server.serve("same.bin", CONTENT)
    resources = {tag: Resource(tag=tag, https=url, sha256=None) for tag in ("t/x", "t/y")}
    with caplog.at_level("WARNING"):
        paths = {load(tag, resources=resources, cache_dir=tmp_path) for tag in resources}
    assert len(paths) == 2
    assert "Resource 't/x' has no recorded sha256" in caplog.text


def test_offline(server, tmp_path, monkeypatch):
    resources = catalogue(server.serve("offline.bin", CONTENT))
    monkeypatch.setenv("BIONEMO_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"Resource 't/x' is not in the cache .* BIONEMO_OFFLINE forbids downloads"):
        load("t/x", resources=resources, cache_dir=tmp_path)
    assert server.requests_for("offline.bin") == []
    monkeypatch.delenv("BIONEMO_OFFLINE")
    path = load("t/x", resources=resources, cache_dir=tmp_path)
    monkeypatch.setenv("BIONEMO_OFFLINE", "1")
    assert load("t/x", resources=resources, cache_dir=tmp_path) == path


@pytest.mark.parametrize(
    ("tag", "source", "message", "status"),
    [
        ("t/other", "auto", "Resource 't/other' not found.", 2),
        ("t/x", "ngc", "Resource 't/x' does not have an NGC URL.", 2),
        ("t/x", "hf", "Resource 't/x' does not have a Hugging Face URL.", 2),
        ("t/x", "pbss", "Resource 't/x' does not have a PBSS URL.", 2),
        ("t/p", "https", "Resource 't/p' does not have an HTTPS URL.", 2),
        ("t/p", "auto", "Resource 't/p' has no public source, only PBSS: ask for it by source 'pbss'.", 2),
        ("t/x", "ftp", "Source 'ftp' not supported.", 2),
    ],
)
def test_wrong_requests(tmp_path, tag, source, message, status):
    resources = catalogue("https://host/f") | {"t/p": Resource(tag="t/p", pbss="s3://b/k", sha256=None)}
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the whole text is compared
        load(tag, source=source, resources=resources, cache_dir=tmp_path)
    assert str(caught.value) == message
    assert caught.value.exit_code == status
    assert list(tmp_path.iterdir()) == []


def test_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    message = (
        f"Permission denied creating a cache directory at {tmp_path / 'file' / 'cache'}. Please set BIONEMO_CACHE_DIR"
    )
    with pytest.raises(PermissionError) as caught:
        load("t/x", resources=catalogue("https://host/f"), cache_dir=tmp_path / "file" / "cache")
    assert str(caught.value).startswith(message)


def test_hugging_face(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.serve("owner/repo/resolve/v1/sub/model.bin", CONTENT)
    resources = catalogue("https://host/f", hf="owner/repo@v1:sub/model.bin")
    assert load("t/x", source="hf", resources=resources, cache_dir=tmp_path).read_bytes() == CONTENT
    assert server.requests[-1].headers["authorization"] == "Bearer secret"


def test_pbss_goes_through_its_seam(tmp_path, monkeypatch):
    calls = []

    def download(url, output_file, pooch):
        calls.append(url)
        Path(output_file).write_bytes(CONTENT)

    monkeypatch.setattr(load_module, "_s3_download", download)
    resources = catalogue((), pbss="s3://bucket/dir/file.bin")
    assert load("t/x", source="pbss", resources=resources, cache_dir=tmp_path).read_bytes() == CONTENT
    assert calls == ["s3://bucket/dir/file.bin"]


def test_pbss_without_boto3(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ImportError, match=r"^boto3 is required to download from PBSS\.$"):
        default_pbss_client()
    with pytest.raises(ImportError, match="boto3 is required"):
        load("t/x", source="pbss", resources=catalogue((), pbss="s3://b/k"), cache_dir=tmp_path)


class FakeClient:
    """Stands in for ngcsdk's client, whose server cannot be reached here; same calls, same folder layout."""

    def __init__(self, valid=True):
        self.valid, self.api_key, self.downloads = valid, None, []
        self.registry = type("Registry", (), {"model": self, "resource": self})

    def configure(self, api_key=None, org_name=None, team_name=None):
        if not self.valid and api_key is None:
            raise ValueError("Invalid apikey for NGC service location [x].")

    def download_version(self, target, destination=".", file_patterns=None):
        self.downloads.append((target, file_patterns))
        folder = Path(destination) / "name_v1.0"
        folder.mkdir()
        (folder / file_patterns[0]).write_bytes(CONTENT)


@pytest.mark.parametrize("version", [":1.0", ""])
def test_ngc(tmp_path, monkeypatch, version):
    client = FakeClient()
    monkeypatch.setattr(load_module, "default_ngc_client", lambda: client)
    resources = catalogue((), ngc=f"org/team/name{version}", ngc_registry="model", filename="m.nemo")
    path = load("t/x", resources=resources, cache_dir=tmp_path)
    assert path.read_bytes() == CONTENT
    assert client.downloads == [(f"org/team/name{version}", ["m.nemo"])]
    assert visible(tmp_path) == [path.name, f"{path.name}.checked"]


def test_ngc_failures(tmp_path, monkeypatch):
    client = FakeClient()
    monkeypatch.setattr(load_module, "default_ngc_client", lambda: client)
    with pytest.raises(BionemoError, match=r"NGC org/other:1\.0: has no file 'f'\."):
        NGCDownloader("f", "resource")("org/other:1.0", tmp_path / "out", None)
    client.download_version = lambda *args, **kwargs: 1 / 0
    with pytest.raises(BionemoError, match=r"NGC n:1: download failed: ZeroDivisionError"):
        NGCDownloader("f", "resource")("n:1", tmp_path / "out", None)
    assert list(tmp_path.iterdir()) == []


def test_ngc_client_falls_back_to_guest(monkeypatch):
    module = type(sys)("ngcsdk")
    monkeypatch.setitem(sys.modules, "ngcsdk", module)
    module.Client = lambda: FakeClient(valid=False)
    assert default_ngc_client().api_key == "no-apikey"
    with pytest.raises(ValueError, match="Invalid apikey"):
        default_ngc_client(use_guest_if_api_key_invalid=False)
    module.Client = FakeClient
    assert default_ngc_client().api_key is None
    monkeypatch.setitem(sys.modules, "ngcsdk", None)
    with pytest.raises(ImportError, match=r"ngcsdk is not installed\. .* pip install 'bionemo-core\[ngc\]'"):
        default_ngc_client()


@pytest.fixture
def small_catalogue(server, monkeypatch):
    resources = catalogue(server.serve("cli.bin", CONTENT))
    resources["t/gone"] = Resource(tag="t/gone", https=f"{server.url}/gone", hf="o/r:gone", sha256=digest(b""))
    resources["t/hub"] = Resource(tag="t/hub", hub="o/r:m", sha256=None, opens="infer_it --checkpoint o/r:m")
    monkeypatch.setattr(load_module, "get_all_resources", lambda: resources)
    monkeypatch.setattr("bionemo.core.data.resource.get_all_resources", lambda: resources)
    return resources


def test_command_prints_the_path_alone(small_catalogue, tmp_path, capsys):
    assert load_module.entrypoint(["t/x", "--cache-dir", str(tmp_path)]) == 0
    assert capsys.readouterr() == (f"{tmp_path / digest(CONTENT)}-cli.bin\n", "")


def test_command_lists(small_catalogue, capsys):
    assert load_module.entrypoint(["--list-resources"]) == 0
    assert capsys.readouterr().out == "#resource_name\tsource_options\nt/gone\thttps,hf\nt/hub\thub\nt/x\thttps\n"
    assert load_module.entrypoint(["--list-resources", "--details"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "#resource_name\tsource_options\tsource\tsize\tlicense\topened_by\tdescription"
    assert lines[2] == "t/hub\thub\to/r:m\t-\t-\tinfer_it --checkpoint o/r:m\t-"


def test_command_downloads_all_and_goes_on_after_failures(small_catalogue, tmp_path, capsys):
    assert load_module.entrypoint(["--all", "--cache-dir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("  t/gone: failed: Resource 't/gone': ")
    assert lines[1] == f"  t/x: {tmp_path / digest(CONTENT)}-cli.bin"
    assert lines[2] == "download_bionemo_data: error: 1 of 2 resources failed: t/gone"


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        ([], 2, "You must provide an artifact name if --list-resources or --all is not set!"),
        (["t/x", "--all"], 2, "You must provide an artifact name if --list-resources or --all is not set!"),
        (["--list-resources", "--all"], 2, "You must provide an artifact name if"),
        (["nothing"], 2, "Resource 'nothing' not found."),
        (["t/x", "--details"], 2, "--details: belongs to --list-resources."),
        (
            ["t/hub"],
            2,
            "Resource 't/hub' is a model of the Hugging Face Hub, which is downloaded when it is opened by "
            "its name: infer_it --checkpoint o/r:m",
        ),
        (["t/gone"], 1, "Resource 't/gone': "),
        (["t/x", "--source", "ftp"], 2, "--source: expected one of auto, https, hf, ngc, pbss or None, got 'ftp'."),
        (["t/x", "--offline"], 1, "Resource 't/x' is not in the cache"),
    ],
)
def test_command_errors(small_catalogue, tmp_path, capsys, monkeypatch, argv, status, message):
    monkeypatch.setenv("BIONEMO_OFFLINE", "")  # restored after --offline has set it
    monkeypatch.setattr(load_module, "BIONEMO_CACHE_DIR", tmp_path)
    assert load_module.entrypoint(argv) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"download_bionemo_data: error: {message}")
    assert err.count("\n") == 1


def test_main_returns_the_error(small_catalogue, tmp_path, capsys):
    assert load_module.main(False, False, "nothing", "auto") == "Resource 'nothing' not found."
    assert load_module.main(False, True, None, "auto") is None
    assert capsys.readouterr().out.startswith("#resource_name")
    stream = io.StringIO()
    load_module.print_resources(output_source=stream)
    assert stream.getvalue().count("\n") == 4


def run_module(*arguments, **environment):
    env = {**os.environ, **environment}
    command = [sys.executable, "-m", "bionemo.core.data.load", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def test_module_runs_and_reads_the_environment():
    done = run_module("esm2/8m:2.0", BIONEMO_DATA_SOURCE="hf")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "download_bionemo_data: error: Resource 'esm2/8m:2.0' does not have a Hugging Face URL.\n"


def test_flags_of_the_command():
    """The command line is a promise to scripts: change this list together with the changelog."""
    from bionemo.core._config_parser import build_parser

    assert build_parser(DownloadConfig).flags == [
        "--list-resources",
        "--no-list-resources",
        "--details",
        "--no-details",
        "--all",
        "--no-all",
        "--source",
        "--cache-dir",
        "--offline",
        "--no-offline",
        "--config",
        "--debug",
        "--version",
        "-h",
        "--help",
    ]
