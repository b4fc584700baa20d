#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# What takes too long for every change: long tests, documentation, coverage, every package installed alone.
# `ci/scripts/nightly_test.sh NAME ...` runs the stages named.

set -uo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/stages.sh"
choose "$@"
./launch.sh dev || exit 1

documentation() {
    "$PYTHON_PLAIN" -m mkdocs build --strict --quiet --config-file docs/mkdocs.yml
}

# Runs the tests of every change once more, watched, and prints what they leave untouched in each file.
coverage_of_tests() {
    rm -f .coverage .coverage.*
    "$PYTHON_PLAIN" -m coverage run -m pytest -q --timeout=1800 -m "not nightly" || return 1
    "$PYTHON_PLAIN" -m coverage combine --quiet && "$PYTHON_PLAIN" -m coverage report
}

stage long-tests "$PYTHON_PLAIN" -m pytest -q --timeout=3600 -m nightly
stage long-tests-with-nemo nemo_tests "nemo_env and nightly" 3600
stage notebooks "$PYTHON_PLAIN" docs/scripts/render_notebooks.py --check
stage documentation documentation
stage coverage coverage_of_tests
stage packages-install-alone "$PYTHON_PLAIN" ci/scripts/check_installable.py \
    bionemo-core bionemo-llm bionemo-geneformer bionemo-scdl bionemo-webdatamodule bionemo-testing \
    "bionemo-testing[lightning]" bionemo-example_model
stage fw-installs-alone "$PYTHON_NEMO" ci/scripts/check_installable.py bionemo-fw
stage esm2-from-the-index "$PYTHON_PLAIN" ci/scripts/check_installable.py --download bionemo-esm2
stage files-of-newer-releases "$PYTHON_PLAIN" ci/scripts/check_newer_files.py
finish
