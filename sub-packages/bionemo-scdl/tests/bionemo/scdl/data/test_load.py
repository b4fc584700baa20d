# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import hashlib
import subprocess
import sys

import pytest

import bionemo.scdl.data
from bionemo.core.data import load as core_load
from bionemo.core.data import resource as core_resource
from bionemo.scdl.data import get_all_resources, load
from bionemo.testing.http_server import LoopbackServer


def test_own_catalogue():
    catalogue = get_all_resources()
    assert set(catalogue) == {
        "scdl/sample",
        "scdl/sample_scdl_feature_ids",
        "scdl/sample_scdl_neighbor",
        "scdl/testdata-20240506",
    }
    assert all(resource.sha256 and resource.ngc_registry == "resource" for resource in catalogue.values())


def test_established_names():
    assert bionemo.scdl.data.Resource is core_resource.Resource
    assert bionemo.scdl.data.NGCDownloader is core_load.NGCDownloader
    assert bionemo.scdl.data.default_ngc_client is core_load.default_ngc_client
    assert sys.modules["bionemo.scdl.data.load"].default_pbss_client is core_load.default_pbss_client


def test_load(tmp_path):
    with LoopbackServer() as server:
        url = server.serve("cells.bin", b"cells")
        digest = hashlib.sha256(b"cells").hexdigest()
        resources = {"scdl/x": core_resource.Resource(tag="scdl/x", https=url, sha256=digest)}
        path = load("scdl/x", resources=resources, cache_dir=tmp_path)
    assert path.read_bytes() == b"cells"
    with pytest.raises(ValueError, match=r"^Resource 'esm2/8m:2\.0' not found\.$"):
        load("esm2/8m:2.0", cache_dir=tmp_path)


def test_import_is_light_and_load_stays_the_function():
    script = (
        "import sys\nimport bionemo.scdl.data.load\nfrom bionemo.scdl.data import load\n"
        "assert callable(load)\nprint(sorted({'torch', 'pooch', 'pydantic', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
