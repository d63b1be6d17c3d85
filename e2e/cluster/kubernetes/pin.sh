#!/bin/bash
# Writes go.mod and go.sum. Usage: pin.sh v1.36.3 v3.6.8   (the versions of Kubernetes and etcd that clusters run)
#                                  pin.sh v1.37.2          (the API server of ../kubernetes-next, for tests of alpha APIs)
set -euo pipefail
cd "$(dirname "$0")"
kubernetes=${1:?usage: pin.sh KUBERNETES_VERSION [ETCD_VERSION]}
etcd=${2:-}
export GOWORK=off

if [ -n "$etcd" ]; then
    tools=(go.etcd.io/etcd/server/v3
        k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl,kubelet})
    required="go.etcd.io/etcd/server/v3 $etcd"
else
    cd ../kubernetes-next
    tools=(k8s.io/kubernetes/cmd/kube-apiserver)
    required=
fi

# Kubernetes replaces its staging modules by local paths. Go ignores these replacements in a dependency, so each staging
# module is replaced by its release here.
upstream=$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
cat >go.mod <<MODULE
module lockkeeper.dev/e2e/${PWD##*/}

go 1.26

tool (
$(printf '\t%s\n' "${tools[@]}")
)

require (
	$required
	k8s.io/kubernetes $kubernetes
)

// The staging modules of Kubernetes, written by pin.sh.
replace (
$(grep -o 'k8s.io/[a-z0-9-]* => ./staging' "$upstream" | sed "s|\(.*\) => .*|\t\1 => \1 v0.${kubernetes#v1.}|")
)
MODULE
go mod tidy
