#!/bin/bash
# Installs the Python packages of lint.py into the cache, once for each version of requirements.txt.
# Usage: install.sh   (prints the directory for PYTHONPATH; progress goes to stderr)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}
out=$cache/python/$(sha256sum <"$here/requirements.txt" | cut -c1-16)
if [ -d "$out" ]; then
    echo "$out"
    exit 0
fi

if ! python3 -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "install.sh: the check of the dashboard needs Python 3.11 or later with pip: apt-get install python3-pip" >&2
    exit 1
fi
echo "installing the check of the dashboard (1 MB, once)" >&2
mkdir -p "$cache/python"
scratch=$(mktemp -d "$cache/python/.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# Installed under a temporary name and renamed, so an interrupted installation leaves no incomplete directory.
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: --require-hashes \
    --target "$scratch/new" --requirement "$here/requirements.txt" >&2 </dev/null
# If another run was faster, its result is kept.
mv -T "$scratch/new" "$out" 2>/dev/null || [ -d "$out" ]
echo "$out"
