#!/bin/bash
# Installs what the cluster needs: Debian packages and the cluster's own programs; into the cache, once.
set -euo pipefail
cd "$(dirname "$0")/.."
e2e/cluster/packages.sh
e2e/cluster/build.sh >/dev/null
