#!/bin/bash
# cargo-deny: what may be linked (deny.toml). Advisories are checked where their database can be fetched or was fetched before.
set -euo pipefail
cd "$(dirname "$0")/.."

checks="bans licenses sources"
if timeout 60 cargo deny --log-level error fetch db 2>/dev/null; then
    checks+=" advisories"
elif [ -n "$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/crates 2>/dev/null)" ]; then
    echo "dependencies.sh: the advisory database cannot be fetched; using the copy that was fetched before" >&2
    checks+=" advisories"
else
    echo "dependencies.sh: SKIPPED advisories: their database (github.com/rustsec/advisory-db) cannot be fetched" >&2
fi
# It reads the packages of all platforms, of which a build downloads only its own.
cargo fetch --locked --quiet
# shellcheck disable=SC2086 # one word a check
cargo deny --log-level error --offline check $checks
