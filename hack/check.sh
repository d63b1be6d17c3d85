#!/bin/bash
# Formatting, lints, the planner's purity, and the licences where cargo-deny is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== formatting"
cargo fmt --all -- --check

echo "== lints"
cargo clippy --quiet --workspace --all-targets -- -D warnings

echo "== the planner does no I/O: it builds alone, and no crate that talks is among its dependencies"
cargo check --quiet -p lockkeeper-planner
tree=$(cargo tree -p lockkeeper-planner -e normal --prefix none)
if grep -E '^(tokio|kube|hyper|zbus)[ -]' <<<"$tree"; then
    echo "check.sh: the planner must not depend on the crates above" >&2
    exit 1
fi

if cargo deny --version >/dev/null 2>&1; then
    echo "== licences, sources, duplicate versions"
    cargo deny --log-level error check bans licenses sources
fi
