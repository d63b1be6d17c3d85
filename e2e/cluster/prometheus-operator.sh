#!/bin/bash
# Fetches the CRDs of Prometheus Operator into the cache, once for each version.
# Usage: prometheus-operator.sh   (prints the directory that holds them; progress goes to stderr)
set -euo pipefail

module=github.com/prometheus-operator/prometheus-operator
version=v0.85.0
sum=h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}
out=$cache/prometheus-operator/$version
if [ -d "$out" ]; then
    echo "$out"
    exit 0
fi

if ! command -v go >/dev/null; then
    echo "prometheus-operator.sh: fetching the CRDs needs Go in PATH: https://go.dev/doc/install" >&2
    exit 1
fi
echo "fetching the CRDs of Prometheus Operator (once)" >&2
mkdir -p "${out%/*}"
scratch=$(mktemp -d "${out%/*}/.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
fetched=$(GOWORK=off go mod download -json "$module@$version" </dev/null)
field() { sed -n "s|^\t\"$1\": \"\(.*\)\",\{0,1\}$|\1|p" <<<"$fetched"; }
if [ "$(field Sum)" != "$sum" ]; then
    echo "prometheus-operator.sh: $module@$version has the checksum $(field Sum), expected $sum; refusing to use it" >&2
    exit 1
fi
mkdir new
for kind in podmonitors servicemonitors prometheusrules; do
    cp --no-preserve=mode "$(field Dir)/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" new
done
# Created under a temporary name and renamed, so an interrupted run leaves no incomplete directory.
mv -T new "$out" 2>/dev/null || [ -d "$out" ]
echo "$out"
