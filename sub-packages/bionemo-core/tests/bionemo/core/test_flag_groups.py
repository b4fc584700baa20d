# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from bionemo.core.config import parse
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import RunFlags


def test_a_run_has_a_folder_and_a_name():
    flags = parse(RunFlags, ["--experiment-name", "v1.2 (new)"])
    assert (flags.result_dir, flags.experiment_name) == (Path("results"), "v1.2 (new)")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\\b", "../a", "a\nb", "a\0"])
def test_a_run_is_one_folder_inside_the_result_folder(name):
    with pytest.raises(ConfigError, match=r"^--experiment-name .*: must be one folder name"):
        RunFlags(experiment_name=name)
