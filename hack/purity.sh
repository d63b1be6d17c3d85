#!/bin/bash
# What two crates must not contain, because of what they are for.
#
# The planner is a pure function of its arguments: no I/O, no clock, no state between two calls, the same plan every time.
# Clippy holds a part of that (operator/planner/clippy.toml); this script holds the rest.
# The actuator runs as root on each node: nothing in it can talk to a network, and it holds no client of the API server.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

fail() {
    echo "purity.sh: $1" >&2
    failed=1
}

# Usage: no_dependency CRATE NAMES REMEDY   (NAMES is an alternation of an extended regular expression)
no_dependency() {
    local tree
    tree=$(cargo tree -p "$1" -e normal --prefix none)
    if grep -E "^($2) " <<<"$tree" | sort -u >&2; then
        fail "$1 must not depend on the crates above; $3"
    fi
}

# It builds by itself: no other crate of the workspace switches a feature on that it needs.
cargo check --quiet -p lockkeeper-planner

no_dependency lockkeeper-planner 'tokio.*|kube.*|hyper.*|zbus.*' \
    "do the I/O in the operator and pass its result in the snapshot"
no_dependency lockkeeper-actuator 'kube.*|k8s-openapi|lockkeeper-(crds|kube-util|node-agent)|http|hyper.*|h2|tower.*|rustls.*|ring|openssl.*' \
    "do it in the agent, and pass the result through the shared directory"

# A OnceCell in a value that lives for one call is fine; these outlive a call or change behind a shared reference.
if git grep -nE '\bthread_local!|\b(Once|Lazy)Lock\b|\bLazyCell\b|\b(Mutex|RwLock|Atomic[A-Z]\w*)\b|\bstatic mut\b' \
    -- operator/planner/src >&2; then
    fail "the lines above keep state between calls; compute the value once a pass and pass it as an argument"
fi

if git grep -nE '\bHash(Map|Set)\b' -- operator/planner/src >&2; then
    fail "the order of the collections above differs from run to run; use BTreeMap and BTreeSet"
fi

exit $failed
