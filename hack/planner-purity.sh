#!/bin/bash
# The planner is a pure function of its arguments: no I/O, no clock, no state between two calls, the same plan every time.
# Clippy holds a part of that (operator/planner/clippy.toml); this script holds the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

fail() {
    echo "planner-purity.sh: $1" >&2
    failed=1
}

# It builds by itself: no other crate of the workspace switches a feature on that it needs.
cargo check --quiet -p lockkeeper-planner

tree=$(cargo tree -p lockkeeper-planner -e normal --prefix none)
if grep -E '^(tokio|kube|hyper|zbus)[ -]' <<<"$tree" >&2; then
    fail "the planner must not depend on the crates above; do the I/O in the operator and pass its result in the snapshot"
fi

# A OnceCell in a value that lives for one call is fine; these outlive a call or change behind a shared reference.
if git grep -nE '\bthread_local!|\b(Once|Lazy)Lock\b|\bLazyCell\b|\b(Mutex|RwLock|Atomic[A-Z]\w*)\b|\bstatic mut\b' \
    -- operator/planner/src >&2; then
    fail "the lines above keep state between calls; compute the value once a pass and pass it as an argument"
fi

if git grep -nE '\bHash(Map|Set)\b' -- operator/planner/src >&2; then
    fail "the order of the collections above differs from run to run; use BTreeMap and BTreeSet"
fi

exit $failed
