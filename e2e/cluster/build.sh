#!/bin/bash
# Builds the programs of a cluster from Go modules, once for each version of the module files and flags.
# Usage: build.sh [demo | NAME...]
#   demo   the programs that a cluster with Lockkeeper needs; the others are needed by tests
#   NAME   these programs; all of them if none is named
# Prints the directory that holds the programs. Progress goes to stderr.
#
# Each program goes to $LOCKKEEPER_CACHE/bin/<module>-<key of the module>/ and is linked into
# $LOCKKEEPER_CACHE/bin/<key of all>/, so a new version of one module builds only that module. LOCKKEEPER_CACHE defaults
# to ~/.cache/lockkeeper. It may be deleted at any time: the next run builds the programs again, in the times below, or
# faster if Go's build cache is still there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}

# Without these flags the programs report version v0.0.0. Usage: kubernetes_flags MODULE
kubernetes_flags() {
    local version minor package=k8s.io/component-base/version
    version=$(sed -n 's|^\tk8s.io/kubernetes \(v[0-9.]*\).*|\1|p' "$here/$1/go.mod")
    minor=${version#v1.}
    echo "-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}" \
        "-X $package.gitTreeState=clean"
}
# Without a cluster Helm 3 assumes Kubernetes 1.20 unless these flags set another version.
helm=helm.sh/helm/v3/pkg
client=$(sed -n 's|^\tk8s.io/client-go v0\.\([0-9]*\)\..*|\1|p' "$here/helm3/go.mod")
flags_of() {
    case $1 in
    helm3)
        echo "-s -w -X $helm/chartutil.k8sVersionMajor=1 -X $helm/chartutil.k8sVersionMinor=$client" \
            "-X $helm/lint/rules.k8sVersionMajor=1 -X $helm/lint/rules.k8sVersionMinor=$client"
        ;;
    prometheus | butane) echo "-s -w" ;;
    kubernetes-next) kubernetes_flags kubernetes-next ;;
    *) kubernetes_flags kubernetes ;;
    esac
}
# The tests use static targets only, so Prometheus is built without service discovery.
tags_of() {
    if [ "$1" = prometheus ]; then
        echo remove_all_sd
    fi
}
# Prints the module file to build NAME with. Usage: modfile NAME SCRATCH
# Alertmanager embeds a web page that is built with npm and is not in its Go module. The tests use only its API, so it is
# built from a copy with an empty page.
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
# Linked statically, because the kubelet also runs in the disk image of a virtual machine.
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

# Name, module directory, package, build time on 2 cores with an empty build cache.
programs="
kube-apiserver kubernetes k8s.io/kubernetes/cmd/kube-apiserver 3_min
kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager 1_min
kube-scheduler kubernetes k8s.io/kubernetes/cmd/kube-scheduler 5_s
kubelet kubernetes k8s.io/kubernetes/cmd/kubelet 15_s
kubectl kubernetes k8s.io/kubernetes/cmd/kubectl 20_s
etcd kubernetes go.etcd.io/etcd/server/v3 10_s
kube-apiserver-next kubernetes-next k8s.io/kubernetes/cmd/kube-apiserver 3_min
kwok kwok sigs.k8s.io/kwok/cmd/kwok 1_min
helm4 helm4 helm.sh/helm/v4/cmd/helm 90_s
helm3 helm3 helm.sh/helm/v3/cmd/helm 90_s
prometheus prometheus github.com/prometheus/prometheus/cmd/prometheus 2_min
promtool prometheus github.com/prometheus/prometheus/cmd/promtool 30_s
alertmanager prometheus github.com/prometheus/alertmanager/cmd/alertmanager 30_s
butane butane github.com/coreos/butane/internal 10_s
"
demo="kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl etcd kwok helm4"
names=${*:-$(awk '{ print $1 }' <<<"$programs")}
[ "$names" != demo ] || names=$demo
for name in $names; do
    grep -q "^$name " <<<"$programs" || { echo "build.sh: there is no program $name" >&2; exit 2; }
done
count=$(wc -w <<<"$names")

# The key of one module: a hash of everything that its programs are built from.
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
# One build at a time: if two runs start together, the second one waits and finds the programs built.
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
        echo "building $name ($number of $count, about ${time/_/ }, once)" >&2
        # Built under a temporary name and renamed, so an interrupted build leaves no incomplete program.
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
