#!/bin/bash
# Builds Lockkeeper and the demo workload for the guests and packs each into an image archive, without Docker.
# Usage: build.sh [OUT_DIR]   (prints the archives' paths; progress goes to stderr)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../../.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$workspace/target}
out=${1:-$target_dir/images}
target=x86_64-unknown-linux-musl
tag=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$workspace/Cargo.toml")

# A static program needs nothing from the image it is in. The target comes from rustup, its C compiler from Debian.
if ! rustc --print sysroot | xargs -I{} test -d "{}/lib/rustlib/$target"; then
    rustup target add "$target" >&2 ||
        { echo "images: the Rust target $target is missing: rustup target add $target" >&2; exit 1; }
fi
"$here/../packages.sh"

echo "images: building static release binaries (about 4 min from nothing, then only what changed)" >&2
(cd "$workspace" && CC_x86_64_unknown_linux_musl=musl-gcc cargo build --quiet --release --target "$target" \
    -p lockkeeper-operator -p lockkeeper-node-agent -p lockkeeper-e2e-images --bins) >&2

mkdir -p "$out"
pack() {
    "$here/pack.sh" "$1" "$target_dir/$target/release/$2" "$out/$3.tar"
    echo "$out/$3.tar"
}
pack "lockkeeper/operator:$tag" lockkeeper-operator operator
pack "lockkeeper/node-agent:$tag" lockkeeper-node-agent node-agent
pack lockkeeper/web:e2e web web
pack lockkeeper/pause:e2e pause pause
