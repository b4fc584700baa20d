#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# Records the commits of the release tags named in .gitmodules, there and as git links. Needs the network; fetches no
# sources.

set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

for name in $(git config --file .gitmodules --name-only --get-regexp '\.path$' | sed 's/^submodule\.//; s/\.path$//'); do
    path=$(git config --file .gitmodules "submodule.$name.path")
    url=$(git config --file .gitmodules "submodule.$name.url")
    release=$(git config --file .gitmodules "submodule.$name.release")
    tag=${release%% *}
    # An annotated tag has a second line, ending in ^{}, that names the commit itself: the last line is right for both.
    commit=$(git ls-remote "$url" "refs/tags/$tag" "refs/tags/$tag^{}" | tail -n 1 | cut -f 1)
    if [[ -z "$commit" ]]; then
        echo "pin_submodules.sh: error: $url has no tag $tag, or cannot be reached." >&2
        exit 1
    fi
    mkdir -p "$path"
    git config --file .gitmodules "submodule.$name.release" "$tag $commit"
    git update-index --add --cacheinfo "160000,$commit,$path"
    echo "$path -> $tag ($commit)"
done
git add .gitmodules
