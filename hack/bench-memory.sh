#!/bin/bash
# Measures what the process of the operator needs in a large cluster: see fake-api/benches/operator_process.rs.
# OPERATOR is the program; without it, that of the image is built.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${OPERATOR:-}" ]; then
    e2e/cluster/images/build.sh operator >/dev/null
    target=${CARGO_TARGET_DIR:-$PWD/target}
    OPERATOR=$target/x86_64-unknown-linux-musl/${IMAGE_PROFILE:-release}/lockkeeper-operator
fi
export OPERATOR
cargo test --quiet --workspace --bench operator_process
