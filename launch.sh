#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# The one door to this repository: set-up, demo, tests and container. `./launch.sh help` lists the commands.

set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

readonly PLAIN_ENV=.venv NEMO_ENV=.venv-nemo
readonly IMAGE="${BIONEMO_IMAGE:-bionemo:$(cat VERSION)}"

usage() {
    cat <<'TEXT'
usage: ./launch.sh COMMAND [ARGUMENT ...]

  demo    set up .venv, train a small ESM-2 on the shipped sequences, say where picture and checkpoint are
          (arguments go to train_esm2, for example --seed 1)
  test    set up .venv and .venv-nemo, then run all checks and tests
  dev     set up both environments and stop; `dev plain` sets up .venv alone
  build   build the container image (needs docker; arguments go to `docker build`)
  run     start the container with this checkout mounted (arguments are the command to run there)

PYTHON=/path/to/python selects the interpreter (3.11 to 3.13; the NeMo environment needs 3.11 or 3.12).
TEXT
}

fail() {
    echo "launch.sh: error: $1" >&2
    exit "${2:-1}"
}

note() { echo "launch.sh: $*" >&2; }

# usable_python CANDIDATE NEWEST_MINOR: is it a Python 3.11 ... 3.NEWEST that really runs and can make environments?
usable_python() {
    "$1" -c "import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $2))" 2>/dev/null
}

# find_python NEWEST_MINOR: prints the first usable interpreter. Version managers put names on PATH that do not run, so
# every place of each name is tried.
find_python() {
    local name candidate
    if [[ -n "${PYTHON:-}" ]]; then
        usable_python "$PYTHON" "$1" ||
            fail "PYTHON=$PYTHON is not a Python 3.11 to 3.$1 with the venv and ensurepip modules; point PYTHON at one, or unset it." 2
        echo "$PYTHON"
        return
    fi
    for name in python3.11 python3.12 python3.13 python3 python; do
        while IFS= read -r candidate; do
            if usable_python "$candidate" "$1"; then
                echo "$candidate"
                return
            fi
        done < <(type -aP "$name" || true)
    done
    fail "found no Python 3.11 to 3.$1 with the venv and ensurepip modules on PATH; install one (Debian and Ubuntu: python3.11 and python3.11-venv) or set PYTHON=/path/to/python." 2
}

# fingerprint FILE ...: one digest of everything that decides what an environment holds.
fingerprint() {
    cat "$@" sub-packages/*/pyproject.toml requirements-*.txt docs/requirements.txt | sha256sum | cut -d ' ' -f 1
}

# set_up ENV CONSTRAINTS NEWEST_MINOR REQUIREMENT ...: makes or completes an environment, unless its stamp says that
# nothing changed since the last complete set-up. Two runs at once wait for each other.
set_up() {
    local env=$1 constraints=$2 newest=$3 stamp python
    shift 3
    stamp=$(fingerprint "$constraints")
    if [[ "$(cat "$env/.stamp" 2>/dev/null)" == "$stamp" ]] && "$env/bin/python" -c "" 2>/dev/null; then
        return
    fi
    python=$(find_python "$newest")
    if ! usable_python "$env/bin/python" "$newest"; then
        note "making $env with $python"
        "$python" -m venv --clear "$env" || fail "could not make $env with $python; is there room on the disk?"
    fi
    (
        if command -v flock >/dev/null; then flock 9; fi
        if [[ "$(cat "$env/.stamp" 2>/dev/null)" == "$stamp" ]]; then exit; fi
        note "installing into $env (the first time takes a few minutes)"
        install_into "$env" "$constraints" "$@"
        echo "$stamp" >"$env/.stamp.new" && mv "$env/.stamp.new" "$env/.stamp"
    ) 9>"$env/.lock" || exit 1
}

# install_into ENV CONSTRAINTS REQUIREMENT ...: torch first, so that a CPU build given to pip is taken before anything
# asks for torch; then our packages and all they need in one command, so that pip takes siblings from this checkout.
install_into() {
    local env=$1 constraints=$2 pip=("$1/bin/python" -m pip --disable-pip-version-check)
    shift 2
    "${pip[@]}" install --quiet -c "$constraints" "$(grep '^torch==' "$constraints")" setuptools wheel ||
        fail "pip could not install torch; its message is above."
    "${pip[@]}" install --quiet --no-build-isolation -c "$constraints" "$@" ||
        fail "pip could not install the packages; its message is above. Try again, or remove $env and start afresh."
}

# packages KIND: the packages of this checkout, editable. llm comes first: pip takes a checkout with an extra for the plain
# requirement of a sibling only if it has seen it before.
packages() {
    local path extra=""
    if [[ "$1" == nemo ]]; then extra="[nemo]"; fi
    printf '%s\n' -e "sub-packages/bionemo-llm$extra"
    for path in sub-packages/bionemo-*; do
        case "$path:$1" in
            *-llm:*) ;;
            *-fw:plain) ;; # fw brings NeMo, which .venv is without
            *) printf '%s\n' -e "$path" ;;
        esac
    done
}

set_up_plain() {
    local arguments
    mapfile -t arguments < <(packages plain)
    set_up "$PLAIN_ENV" constraints.txt 13 -r requirements-dev.txt -r requirements-test.txt "${arguments[@]}"
}

set_up_nemo() {
    local arguments
    mapfile -t arguments < <(packages nemo)
    set_up "$NEMO_ENV" constraints-nemo.txt 12 -r requirements-test.txt "${arguments[@]}"
}

need_docker() {
    command -v docker >/dev/null || fail "docker is not installed; install it, or use ./launch.sh dev for a plain environment."
    docker info >/dev/null 2>&1 || fail "docker is installed, but its daemon does not answer; start it, or use ./launch.sh dev."
}

run_demo() {
    set_up_plain
    exec "$PLAIN_ENV/bin/python" scripts/demo.py "$@"
}

run_tests() {
    [[ $# -eq 0 ]] || fail "test takes no arguments; for some tests: $PLAIN_ENV/bin/python -m pytest PATH" 2
    set_up_plain
    set_up_nemo
    exec ci/scripts/pr_test.sh
}

run_container() {
    need_docker
    # Without this docker would look for an image of this name on a public registry.
    docker image inspect "$IMAGE" >/dev/null 2>&1 || fail "there is no image $IMAGE on this machine; run ./launch.sh build first."
    local cache="${BIONEMO_CACHE_DIR:-$HOME/.cache/bionemo}" options=(--rm --pull=never --ipc=host)
    mkdir -p "$cache" results
    if [[ -t 0 && -t 1 ]]; then options+=(-it); fi
    if command -v nvidia-smi >/dev/null; then options+=(--gpus all --ulimit memlock=-1 --ulimit stack=67108864); fi
    exec docker run "${options[@]}" \
        --user "$(id -u):$(id -g)" -e HOME=/tmp \
        -e BIONEMO_CACHE_DIR=/cache -v "$cache:/cache" \
        -v "$PWD:/workspace/bionemo" -w /workspace/bionemo \
        "$IMAGE" "${@:-bash}"
}

main() {
    local command=${1:-}
    [[ $# -gt 0 ]] && shift
    case "$command" in
        demo) run_demo "$@" ;;
        test) run_tests "$@" ;;
        dev)
            [[ $# -le 1 && "${1:-plain}" == plain ]] || fail "dev takes no argument but 'plain', found: $*" 2
            set_up_plain
            if [[ $# -eq 0 ]]; then set_up_nemo; fi
            note "ready: $PLAIN_ENV/bin/python$([[ $# -eq 0 ]] && echo ", $NEMO_ENV/bin/python")"
            ;;
        build) need_docker && exec docker build --tag "$IMAGE" "$@" . ;;
        run) run_container "$@" ;;
        help | -h | --help) usage ;;
        "") usage >&2 && fail "no command given; use demo, test, dev, build or run." 2 ;;
        *) fail "unknown command '$command'; use demo, test, dev, build, run or help." 2 ;;
    esac
}

main "$@"
