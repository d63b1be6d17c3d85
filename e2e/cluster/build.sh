#!/bin/bash
# Builds the cluster's programs from Go modules, once for each content of the module files and flags.
# Usage: build.sh [demo | NAME...]   (all of them unless named; prints the directory that holds them; progress: stderr)
#
# demo: what a cluster with Lockkeeper runs on; the others are for tests.
#
# Each goes to $LOCKKEEPER_CACHE/bin/<module>-<its key>/ and is linked into $LOCKKEEPER_CACHE/bin/<key of all>/, so that
# a new version of one builds that one alone. LOCKKEEPER_CACHE is ~/.cache/lockkeeper unless set. Deleting it is safe:
# the next run builds again (the times below; less when Go's own build cache is there).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}

# Without these the binaries report the unreleased v0.0.0 of their source tree.
version=$(sed -n 's|^\tk8s.io/kubernetes \(v[0-9.]*\).*|\1|p' "$here/kubernetes/go.mod")
minor=${version#v1.}
package=k8s.io/component-base/version
ldflags="-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
ldflags+=" -X $package.gitTreeState=clean"
# Helm 3 takes the Kubernetes it assumes without a cluster from its flags; unset it is 1.20.
helm=helm.sh/helm/v3/pkg
client=$(sed -n 's|^\tk8s.io/client-go v0\.\([0-9]*\)\..*|\1|p' "$here/helm3/go.mod")
flags_of() {
    case $1 in
    helm3)
        echo "-s -w -X $helm/chartutil.k8sVersionMajor=1 -X $helm/chartutil.k8sVersionMinor=$client" \
            "-X $helm/lint/rules.k8sVersionMajor=1 -X $helm/lint/rules.k8sVersionMinor=$client"
        ;;
    prometheus) echo "-s -w" ;;
    *) echo "$ldflags" ;;
    esac
}
# Our Prometheus finds its targets in its configuration, not in thirty clouds.
tags_of() {
    if [ "$1" = prometheus ]; then
        echo remove_all_sd
    fi
}
# Alertmanager embeds a web page that is built with npm and not part of its Go module; we use its API alone. Built from a
# copy with an empty page, by a module file beside it. Usage: modfile NAME SCRATCH (prints the module file to use).
modfile() {
    if [ "$1" != alertmanager ]; then
        echo go.mod
        return
    fi
    local module=github.com/prometheus/alertmanager
    cp -r --no-preserve=mode "$(go list -m -f '{{.Dir}}' $module)" "$2"
    mkdir "$2/ui/app/dist"
    echo 'not in the Go module' >"$2/ui/app/dist/index.html"
    cp go.sum "$2.sum"
    { cat go.mod && echo "replace $module => $2"; } >"$2.mod"
    echo "$2.mod"
}
# Static: the kubelet also runs in the disk image of a node.
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

# name, module directory, package, minutes on 2 cores with nothing built before.
programs="
kube-apiserver kubernetes k8s.io/kubernetes/cmd/kube-apiserver 3_min
kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager 1_min
kube-scheduler kubernetes k8s.io/kubernetes/cmd/kube-scheduler 5_s
kubelet kubernetes k8s.io/kubernetes/cmd/kubelet 15_s
kubectl kubernetes k8s.io/kubernetes/cmd/kubectl 20_s
etcd kubernetes go.etcd.io/etcd/server/v3 10_s
kwok kwok sigs.k8s.io/kwok/cmd/kwok 1_min
helm4 helm4 helm.sh/helm/v4/cmd/helm 90_s
helm3 helm3 helm.sh/helm/v3/cmd/helm 90_s
prometheus prometheus github.com/prometheus/prometheus/cmd/prometheus 2_min
promtool prometheus github.com/prometheus/prometheus/cmd/promtool 30_s
alertmanager prometheus github.com/prometheus/alertmanager/cmd/alertmanager 30_s
"
demo="kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl etcd kwok helm4"
names=${*:-$(awk '{ print $1 }' <<<"$programs")}
[ "$names" != demo ] || names=$demo
for name in $names; do
    grep -q "^$name " <<<"$programs" || { echo "build.sh: there is no program $name" >&2; exit 2; }
done
count=$(wc -w <<<"$names")

# The key of one module: what its programs are made of.
module_key() {
    {
        flags_of "$1"
        tags_of "$1"
        awk -v module="$1" '$2 == module { print $1, $3 }' <<<"$programs"
        cat "$here/$1/go.mod" "$here/$1/go.sum"
    } | sha256sum | cut -c1-16
}

declare -A place
while read -r name module rest; do
    [ -z "$name" ] || [ -n "${place[$module]:-}" ] || place[$module]=$cache/bin/$module-$(module_key "$module")
done <<<"$programs"
out=$cache/bin/$(printf '%s\n' "${place[@]}" | sort | sha256sum | cut -c1-16)

complete() {
    local name
    for name in $names; do
        [ -x "$out/$name" ] || return 1
    done
}

if complete; then
    echo "$out"
    exit 0
fi

if ! command -v go >/dev/null; then
    echo "build.sh: building the cluster's programs needs Go 1.26 or later in PATH: https://go.dev/doc/install" >&2
    exit 1
fi
mkdir -p "$out"
# One build at a time: two test runs that start together build once.
exec 9>"$cache/bin/.lock"
if ! flock -n 9; then
    echo "waiting for another build of the cluster's programs" >&2
    flock 9
fi

number=0
for name in $names; do
    read -r name module target time < <(grep "^$name " <<<"$programs")
    number=$((number + 1))
    built=${place[$module]}
    mkdir -p "$built"
    if [ ! -x "$built/$name" ]; then
        echo "building $name ($number of $count, about ${time/_/ }, happens once)" >&2
        # Built beside its place and renamed: an interrupted build leaves nothing that looks finished.
        (
            cd "$here/$module"
            trap 'rm -rf "$scratch"' EXIT
            scratch=$(mktemp -d)
            go build -trimpath -modfile "$(modfile "$name" "$scratch/$name")" -tags "$(tags_of "$module")" \
                -ldflags "$(flags_of "$module")" -o "$built/.$name.tmp" "$target"
        ) >&2 </dev/null
        mv "$built/.$name.tmp" "$built/$name"
    fi
    ln -f "$built/$name" "$out/$name"
done
echo "$out"
