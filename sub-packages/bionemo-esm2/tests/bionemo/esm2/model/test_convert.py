# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2's conversion names: the same weights out, and one line for what is not built here."""

from pathlib import Path

import pytest
import torch

from bionemo.core.errors import ConfigError, DataFileError
from bionemo.esm2.api import ESM2Config, build_esm2, load_esm2, save_esm2
from bionemo.esm2.model.convert import HFESM2Exporter, HFESM2Importer, app


@pytest.fixture
def source(tmp_path: Path) -> Path:
    config = ESM2Config(num_layers=1, hidden_size=32, num_attention_heads=4, ffn_hidden_size=64)
    save_esm2(build_esm2(config, seed=3), tmp_path / "in")
    return tmp_path / "in"


def assert_same_weights(found: Path, expected: Path) -> None:
    """Compare all weights, but for the contact head where NeMo 2 holds none."""
    theirs = load_esm2(expected).state_dict()
    is_nemo = (found / "context").is_dir()
    for name, tensor in load_esm2(found).state_dict().items():
        if isinstance(tensor, torch.Tensor) and not (is_nemo and "contact_head" in name):
            assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("verb", ["convert-hf-to-nemo", "convert-nemo-to-hf"])
def test_both_commands_write_the_same_weights(verb: str, source: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert app([verb, str(source), str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert (out / "weights/.metadata").is_file() == (verb == "convert-hf-to-nemo")
    assert_same_weights(out, source)
    assert app([verb, str(source), str(out)]) == 2
    assert "overwrite" in capsys.readouterr().err
    assert app([verb, str(source), str(out), "--overwrite"]) == 0


@pytest.mark.parametrize("cls", [HFESM2Importer, HFESM2Exporter])
def test_connectors_load_and_write(cls: type, source: Path, tmp_path: Path) -> None:
    connector = cls(source)
    assert connector.config.hidden_size == 32
    assert connector.tokenizer.mask_token_id == 32
    assert connector.init().config.num_layers == 1
    assert_same_weights(connector.apply(tmp_path / "out"), source)
    with pytest.raises(DataFileError):
        connector.apply(tmp_path / "out")
    with pytest.raises(ConfigError, match="copies into a NeMo model"):
        connector.convert_state(None, None)
