#!/bin/bash
# Writes go.mod and go.sum for a Kubernetes and an etcd version. Usage: pin.sh v1.36.3 v3.6.8
set -euo pipefail
cd "$(dirname "$0")"
kubernetes=${1:?usage: pin.sh KUBERNETES_VERSION ETCD_VERSION}
etcd=${2:?usage: pin.sh KUBERNETES_VERSION ETCD_VERSION}
export GOWORK=off

# Kubernetes replaces its staging modules by local paths. Go ignores these replacements in a dependency, so each staging
# module is replaced by its release here.
upstream=$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
cat >go.mod <<MODULE
module lockkeeper.dev/e2e/kubernetes

go 1.26

tool (
	go.etcd.io/etcd/server/v3
	k8s.io/kubernetes/cmd/kube-apiserver
	k8s.io/kubernetes/cmd/kube-controller-manager
	k8s.io/kubernetes/cmd/kube-scheduler
	k8s.io/kubernetes/cmd/kubectl
	k8s.io/kubernetes/cmd/kubelet
)

require (
	go.etcd.io/etcd/server/v3 $etcd
	k8s.io/kubernetes $kubernetes
)

// The staging modules of Kubernetes, written by pin.sh.
replace (
$(grep -o 'k8s.io/[a-z0-9-]* => ./staging' "$upstream" | sed "s|\(.*\) => .*|\t\1 => \1 v0.${kubernetes#v1.}|")
)
MODULE
go mod tidy
