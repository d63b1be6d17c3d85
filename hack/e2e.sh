#!/bin/bash
# Runs the tests of one module of e2e/tests, one after another: hack/e2e.sh MODULE [--nocapture]
# Without a module it builds the program and prints its path. With E2E_PROGRAM it takes that program instead of building.
set -euo pipefail
cd "$(dirname "$0")/.."

# One selection of targets for all: another one has other features, and cargo would build most dependencies again.
build() {
    local log
    cargo build --quiet --workspace --bins --tests >&2 || return
    log=$(mktemp)
    trap 'rm -f "$log"' RETURN
    if cargo test --no-run --workspace --test '*' 2>"$log"; then
        sed -nE 's|.*Executable tests/main\.rs \((.*/e2e-[0-9a-f]+)\)|\1|p' "$log" | xargs realpath
    else
        cat "$log" >&2
        return 1
    fi
}

if [ -z "${E2E_PROGRAM:-}" ]; then
    E2E_PROGRAM=$(build)
fi
if [ $# -eq 0 ]; then
    echo "$E2E_PROGRAM"
    exit
fi
module=$1
shift
cd e2e # As cargo does for the tests of a package.
# By exact names: a filter would find `drain` in `bench_drain` as well.
mapfile -t tests < <("$E2E_PROGRAM" --list --format terse | sed -nE "s|^($module::.*): test\$|\1|p")
if [ ${#tests[@]} -eq 0 ]; then
    echo "e2e.sh: no tests in the module $module; the modules are in e2e/tests/main.rs" >&2
    exit 2
fi
exec "$E2E_PROGRAM" --exact "${tests[@]}" --test-threads=1 "$@"
