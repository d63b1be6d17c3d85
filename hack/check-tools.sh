#!/bin/bash
# Builds the cargo plugins that `make check` uses, once for each version, into the cache.
# Usage: check-tools.sh   (prints the directory that holds them; progress: stderr)
set -euo pipefail

tools="cargo-machete@0.9.2 cargo-deny@0.20.2"
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}
out=$cache/bin/check-$(echo "$tools" | sha256sum | cut -c1-16)
if [ -d "$out" ]; then
    echo "$out/bin"
    exit 0
fi

mkdir -p "$cache/bin"
exec 9>"$cache/bin/.check.lock"
flock 9
if [ -d "$out" ]; then
    echo "$out/bin"
    exit 0
fi
echo "building cargo-machete and cargo-deny (about 3 min, once)" >&2
scratch=$(mktemp -d "$cache/bin/.check.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# Debug builds: the plugins run for seconds only, and an optimized build would take minutes longer.
# shellcheck disable=SC2086 # one word a tool
CARGO_TARGET_DIR=$scratch/target CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 \
    cargo install --quiet --locked --debug --no-default-features --no-track --root "$scratch/new" $tools >&2 </dev/null
# Built under a temporary name and renamed, so an interrupted build leaves no incomplete directory.
mv -T "$scratch/new" "$out"
echo "$out/bin"
