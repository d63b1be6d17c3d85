#!/bin/bash
# Packs static programs into a reproducible container image archive, without Docker.
# Usage: pack.sh NAME:TAG OUT.tar PROGRAM...   (a docker-archive, for `ctr images import` and `docker load`)
# The first program is the entrypoint of the image.
set -euo pipefail

image=${1:?image name} out=${2:?output archive} program=${3:?program} user=65532:65532
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Times, owners and the order of files are fixed, so the same programs give the same archive on every machine.
pack() {
    tar --create --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$@"
}

entry=/$(basename "$program")
mkdir -p "$work/root" "$work/image/blobs/sha256"
install -m 0755 "$@" "$work/root/"
pack --directory "$work/root" --file "$work/layer.tar" "${@/#*\//./}"
layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)

cat >"$work/config.json" <<CONFIG
{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{"User":"$user","Entrypoint":["$entry"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"pack.sh $entry"}]}
CONFIG
config=$(sha256sum "$work/config.json" | cut -d' ' -f1)

mv "$work/layer.tar" "$work/image/blobs/sha256/$layer"
mv "$work/config.json" "$work/image/blobs/sha256/$config"
cat >"$work/image/manifest.json" <<MANIFEST
[{"Config":"blobs/sha256/$config","RepoTags":["$image"],"Layers":["blobs/sha256/$layer"]}]
MANIFEST
pack --directory "$work/image" --file "$out.tmp.$$" manifest.json blobs
mv "$out.tmp.$$" "$out"
