#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# What every change has to pass: `./launch.sh test` sets up the environments and calls this. No network is needed.
# `ci/scripts/pr_test.sh NAME ...` runs the stages named.

set -uo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/stages.sh"
choose "$@"

stage static-checks ci/scripts/static_checks.sh
stage tests "$PYTHON_PLAIN" -m pytest -q --timeout=600 -m "not nightly"
stage tests-with-nemo nemo_tests "nemo_env and not nightly"
stage packages-install-alone "$PYTHON_PLAIN" ci/scripts/check_installable.py bionemo-esm2 bionemo-testing
finish
