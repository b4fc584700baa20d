#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# Everything that can be said about the code without running it. Runs all checks, then fails if one did.

set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
readonly BIN="$PWD/.venv/bin"
failed=()

check() {
    local label=$1
    shift
    if "$@"; then
        echo "ok      $label"
    else
        echo "FAILED  $label"
        failed+=("$label")
    fi
}

shell_syntax() {
    local script status=0
    for script in launch.sh .ci/run ci/scripts/*.sh 3rdparty/*.sh docs/docs/user-guide/*.sbatch; do
        bash -n "$script" || status=1
    done
    return "$status"
}

# fw needs NeMo and is therefore not installed beside the others; its source is all that the checkers need.
dependency_direction() {
    PYTHONPATH=sub-packages/bionemo-fw/src "$BIN/lint-imports" --no-cache
}

dependencies_agree() {
    PYTHONPATH=sub-packages/bionemo-fw/src "$BIN/python" -m bionemo.fw.dependency_graph
}

# quiet COMMAND: shows the output only if the command fails.
quiet() {
    local output
    output=$("$@" 2>&1) || { printf '%s\n' "$output" && return 1; }
}

check "lint (ruff check)" quiet "$BIN/ruff" check .
check "format (ruff format)" quiet "$BIN/ruff" format --check .
check "types (mypy --strict, the packages listed in pyproject.toml)" quiet "$BIN/mypy"
check "dependency direction (import-linter)" quiet dependency_direction
check "import circles inside packages, lazy and type-checking imports counted" \
    "$BIN/python" ci/scripts/check_import_circles.py
check "declared dependencies agree with imports" dependencies_agree
check "the field's words in help texts, docstrings and pages" \
    "$BIN/python" ci/scripts/check_terms.py --quiet --max-findings 0
check "headers, sizes, layout, versions, pins, imports of tests" "$BIN/python" ci/scripts/check_repository.py
check "requirements files agree with pyproject.toml" "$BIN/python" ci/scripts/generate_requirements.py --check
check "shell syntax" shell_syntax

if ((${#failed[@]})); then
    echo "static_checks.sh: ${#failed[@]} failed" >&2
    exit 1
fi
