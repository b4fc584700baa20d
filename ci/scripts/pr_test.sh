#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# What every change has to pass: `./launch.sh test` sets up the environments and calls this. No network is needed.

set -uo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/stages.sh"

stage "static checks" ci/scripts/static_checks.sh
stage "tests" "$PYTHON_PLAIN" -m pytest -q --timeout=600 -m "not nightly"
stage "tests with NeMo" nemo_tests "nemo_env and not nightly"
stage "bionemo-esm2 installs alone" "$PYTHON_PLAIN" ci/scripts/check_installable.py bionemo-esm2
finish
