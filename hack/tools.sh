#!/bin/bash
# Installs into the cache, once, what clusters and tests need in addition to Rust and Go.
# Usage: tools.sh [hollow | vm | test]   (for a cluster of hollow nodes, a cluster of virtual machines, or all tests)
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-test}
e2e/cluster/packages.sh "$what"
case $what in
test)
    hack/check-tools.sh >/dev/null
    e2e/cluster/build.sh >/dev/null
    e2e/cluster/dashboard/install.sh >/dev/null
    e2e/cluster/prometheus-operator.sh >/dev/null
    ;;
*) e2e/cluster/build.sh demo >/dev/null ;;
esac
