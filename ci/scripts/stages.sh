# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# Sourced by pr_test.sh and nightly_test.sh: stages that all run, are timed, and fail the whole at the end.

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." || exit 1
readonly PYTHON_PLAIN="$PWD/.venv/bin/python" PYTHON_NEMO="$PWD/.venv-nemo/bin/python"
summary=()
failures=0

# stage LABEL COMMAND ...
stage() {
    local label=$1 started=$SECONDS verdict=ok
    shift
    echo "=== $label"
    if ! "$@"; then
        verdict=FAILED
        failures=$((failures + 1))
    fi
    summary+=("$(printf '%-7s %5d s  %s' "$verdict" $((SECONDS - started)) "$label")")
}

# Prints what each stage did and ends with the exit code of the whole.
finish() {
    echo "=== summary"
    printf '%s\n' "${summary[@]}"
    if ((failures)); then
        echo "$failures of ${#summary[@]} stages failed" >&2
        exit 1
    fi
    exit 0
}

# nemo_tests MARKERS: runs the marked tests in the environment with NeMo. Only files that name the mark are collected,
# because others may need what that environment lacks; no such file would mean that the mark was lost.
nemo_tests() {
    local files
    mapfile -t files < <(grep -rl --include='test_*.py' 'nemo_env' sub-packages/*/tests | sort)
    if ((${#files[@]} == 0)); then
        echo "no test file is marked nemo_env" >&2
        return 1
    fi
    "$PYTHON_NEMO" -m pytest -q --timeout=600 -m "$1" "${files[@]}"
}
