# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# Sourced by pr_test.sh and nightly_test.sh: stages that all run, are timed, and fail the whole at the end.

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." || exit 1
readonly PYTHON_PLAIN="$PWD/.venv/bin/python" PYTHON_NEMO="$PWD/.venv-nemo/bin/python"
summary=()
names=()
chosen=()
failures=0

# choose NAME ...: only these stages run; without a name all do.
choose() { chosen=("$@"); }

# stage NAME COMMAND ...
stage() {
    local name=$1 started=$SECONDS verdict=ok
    shift
    names+=("$name")
    if ((${#chosen[@]})) && [[ " ${chosen[*]} " != *" $name "* ]]; then return; fi
    echo "=== $name"
    if ! "$@"; then
        verdict=FAILED
        failures=$((failures + 1))
    fi
    summary+=("$(printf '%-7s %5d s  %s' "$verdict" $((SECONDS - started)) "$name")")
}

# Prints what each stage did and ends with the exit code of the whole.
finish() {
    local name
    for name in "${chosen[@]}"; do
        if [[ " ${names[*]} " != *" $name "* ]]; then
            echo "no stage is called $name; there are: ${names[*]}" >&2
            exit 2
        fi
    done
    echo "=== summary"
    printf '%s\n' "${summary[@]}"
    if ((failures)); then
        echo "$failures of ${#summary[@]} stages failed" >&2
        exit 1
    fi
    exit 0
}

# nemo_tests MARKERS [SECONDS]: runs the marked tests in the environment with NeMo, each for so long at most. Only files
# that name the mark are collected, because others may need what that environment lacks; no such file would mean that
# the mark was lost.
nemo_tests() {
    local files
    mapfile -t files < <(grep -rl --include='test_*.py' 'nemo_env' sub-packages/*/tests | sort)
    if ((${#files[@]} == 0)); then
        echo "no test file is marked nemo_env" >&2
        return 1
    fi
    "$PYTHON_NEMO" -m pytest -q --timeout="${2:-600}" -m "$1" "${files[@]}"
}
