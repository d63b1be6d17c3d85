#!/bin/bash
# Installs what the tests need: Debian packages, the cluster's own programs, foreign schemas; into the cache, once.
set -euo pipefail
cd "$(dirname "$0")/.."
e2e/cluster/packages.sh
e2e/cluster/build.sh >/dev/null
e2e/cluster/dashboard/install.sh >/dev/null
e2e/cluster/prometheus-operator.sh >/dev/null
