#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# What takes too long for every change: long tests, documentation, every package installed alone.

set -uo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/stages.sh"
./launch.sh dev || exit 1

documentation() {
    "$PYTHON_PLAIN" -m mkdocs build --strict --quiet --config-file docs/mkdocs.yml
}

stage "long tests" "$PYTHON_PLAIN" -m pytest -q --timeout=3600 -m nightly
stage "long tests with NeMo" nemo_tests "nemo_env and nightly"
stage "notebooks agree with their scripts" "$PYTHON_PLAIN" docs/scripts/render_notebooks.py --check
stage "documentation builds" documentation
stage "packages install alone" "$PYTHON_PLAIN" ci/scripts/check_installable.py \
    bionemo-core bionemo-llm bionemo-geneformer bionemo-scdl bionemo-webdatamodule bionemo-testing bionemo-example_model
stage "bionemo-fw installs alone" "$PYTHON_NEMO" ci/scripts/check_installable.py bionemo-fw
stage "bionemo-esm2 installs from the package index" "$PYTHON_PLAIN" ci/scripts/check_installable.py --download bionemo-esm2
finish
