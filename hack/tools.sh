#!/bin/bash
# Installs what is needed beside Rust and Go, into the cache, once.
# Usage: tools.sh [hollow | vm | test]   (for a cluster of hollow nodes, of virtual machines, for all the tests)
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-test}
e2e/cluster/packages.sh "$what"
case $what in
test)
    e2e/cluster/build.sh >/dev/null
    e2e/cluster/dashboard/install.sh >/dev/null
    e2e/cluster/prometheus-operator.sh >/dev/null
    ;;
*) e2e/cluster/build.sh demo >/dev/null ;;
esac
