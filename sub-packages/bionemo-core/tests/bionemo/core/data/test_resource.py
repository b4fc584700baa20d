# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import re

import pydantic
import pytest

from bionemo.core.data.resource import Resource, get_all_resources


SHA = "0" * 64


def make(**changes):
    return Resource(**{"tag": "a/b:1.0", "https": "https://host/dir/file.bin", "sha256": SHA, **changes})


def test_all_keys():
    resource = make(
        ngc="org/team/name:1.0",
        ngc_registry="model",
        pbss="s3://bucket/dir/key.bin",
        https=["https://host/x.tar.gz", "https://mirror/x.tar.gz?download=1"],
        hf="datasets/owner/repo@v1:dir/y.bin",
        sha256="AB" * 32,
        owner="A Name <a.name@host.org>",
        description="Something.",
        unpack=False,
        decompress=False,
    )
    assert resource.https == ("https://host/x.tar.gz", "https://mirror/x.tar.gz?download=1")
    assert resource.sha256 == "ab" * 32
    assert resource.filename == "x.tar.gz"
    assert resource.hf_location() == ("datasets/owner/repo", "v1", "dir/y.bin")


@pytest.mark.parametrize(
    ("changes", "filename"),
    [
        ({}, "file.bin"),
        ({"https": "https://host/a%20b.bin?x=/y"}, "a b.bin"),
        ({"https": (), "hf": "o/r:x/y.bin"}, "y.bin"),
        ({"https": (), "hf": "o/r:y.bin"}, "y.bin"),
        ({"https": (), "pbss": "s3://b/k/z.bin"}, "z.bin"),
        ({"filename": "own"}, "own"),
        ({"https": (), "ngc": "n", "ngc_registry": "resource", "filename": "f"}, "f"),
    ],
)
def test_filename(changes, filename):
    assert make(**changes).filename == filename


@pytest.mark.parametrize("ngc", ["name", "name:1", "org/name", "org/team/name:1.0"])
def test_ngc_patterns(ngc):
    assert make(ngc=ngc, ngc_registry="model").ngc == ngc


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tag": "b"}, "Tag should have exactly one '/'"),
        ({"tag": "a/b/c"}, "Tag should have exactly one '/'"),
        ({"ngc": "a/b/c/d:1", "ngc_registry": "model"}, "Pattern should be in format [org/[team/]]name[:version]"),
        ({"ngc": "a b", "ngc_registry": "model"}, "Pattern should be in format [org/[team/]]name[:version]"),
        ({"ngc": "n:1"}, "ngc_registry must be provided if ngc is not None: a/b:1.0"),
        ({"ngc": "n:1", "ngc_registry": "thing"}, "Input should be 'model' or 'resource'"),
        ({"https": "http://host/file"}, "URL should be https://host/path, but got 'http://host/file'"),
        ({"https": "https://host"}, "URL should be https://host/path"),
        ({"https": "ftp://host/file"}, "URL should be https://host/path"),
        ({"hf": "owner:x"}, "Pattern should be in format owner/repo[@revision]:path/in/repo"),
        ({"pbss": "https://bucket/key"}, "String should match pattern"),
        ({"https": ()}, "At least one of https, hf, ngc and pbss must be provided: a/b:1.0"),
        ({"https": (), "ngc": "n", "ngc_registry": "model"}, "filename must be provided where ngc is the only source"),
        ({"filename": "../x"}, "String should match pattern"),
        ({"sha256": "123"}, "String should match pattern"),
        ({"owner": "nobody"}, "String should match pattern"),
        ({"unpack": True}, "Input should be False"),
        ({"https": (), "hub": "owner"}, "Pattern should be in format owner/repo[@revision][:subfolder]"),
        ({"hub": "owner/repo"}, "hub excludes other sources and a filename: a/b:1.0"),
        ({"sha265": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_violations(changes, message):
    with pytest.raises(pydantic.ValidationError, match=re.escape(message)):
        make(**changes)


def test_sha256_must_be_said():
    with pytest.raises(pydantic.ValidationError, match="sha256\n  Field required"):
        Resource(tag="a/b", https="https://host/file")
    assert make(sha256=None).sha256 is None


def write(folder, name, text):
    (folder / name).write_text(text)
    return folder


ENTRY = f"- tag: '1'\n  https: https://host/f\n  sha256: '{SHA}'\n"


def test_both_suffixes_are_read_and_prefixed(tmp_path):
    write(tmp_path, "one.yaml", ENTRY)
    write(tmp_path, "two.yml", ENTRY)
    write(tmp_path, "three.txt", "not read")
    assert list(get_all_resources(tmp_path)) == ["one/1", "two/1"]
    assert get_all_resources(tmp_path) is get_all_resources(tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "Empty YAML file: c.yaml"),
        ("a: 1", TypeError, "Expected list in YAML file c.yaml, got <class 'dict'>"),
        ("- 3", ValueError, "Resource at index 0 in c.yaml is not a dict: 3"),
        (f"{ENTRY}- {{ngc: x}}", ValueError, "Resource at index 1 in c.yaml missing required 'tag' key: {'ngc': 'x'}"),
        (ENTRY + ENTRY, ValueError, "Duplicate resource tags found!: ['c/1']"),
        ("- [", ValueError, "not valid YAML"),
        (ENTRY.replace("'1'", "x/y"), ValueError, "Tag should have exactly one '/'"),
    ],
)
def test_broken_catalogues(tmp_path, text, error, message):
    with pytest.raises(error, match=re.escape(message)):
        get_all_resources(write(tmp_path, "c.yaml", text))


def test_own_catalogue():
    catalogue = get_all_resources()
    files = [resource for resource in catalogue.values() if resource.hub is None]
    assert len(files) == 20
    assert all(resource.sha256 for resource in files)
    assert len(catalogue) == 30
    assert all(each.description and each.license and each.opens for each in catalogue.values())
    model = catalogue["esm2/650m:2.0"]
    assert (model.ngc, model.ngc_registry) == ("nvidia/clara/esm2nv650m:2.0", "model")
    assert model.filename == "esm2_650M_nemo2.tar.gz"
    assert model.sha256 == "0798767e843e3d54315aef91934d28ae7d8e93c2849d5fcfbdf5fac242013997"
    assert catalogue["single_cell/testdata-20240506"].ngc_registry == "resource"
    assert {tag.split("/")[0] for tag in catalogue} == {"esm2", "geneformer", "scdl", "single_cell"}
