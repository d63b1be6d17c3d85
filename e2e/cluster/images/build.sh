#!/bin/bash
# Builds Lockkeeper and the demo workload and packs each into a container image archive, without Docker.
# Usage: build.sh [NAME...]   (operator, node-agent, web, pause; all of them if none is named)
# IMAGE_PROFILE is the cargo profile (default release; the tests use e2e-images).
# Prints the paths of the archives below target/images. Progress goes to stderr.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../../.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$workspace/target}
out=$target_dir/images
profile=${IMAGE_PROFILE:-release}
names=${*:-operator node-agent web pause}
target=x86_64-unknown-linux-musl
tag=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$workspace/Cargo.toml")

# A static program needs no libraries in its image. The target comes from rustup, its C compiler from Debian.
if ! rustc --print sysroot | xargs -I{} test -d "{}/lib/rustlib/$target"; then
    rustup target add "$target" >&2 ||
        { echo "images: the Rust target $target is missing: rustup target add $target" >&2; exit 1; }
fi
"$here/../packages.sh" vm

crates=()
for name in $names; do
    case $name in
        # The operator's image also holds the kubectl plugin: `helm test` runs it.
        operator) crates+=(-p lockkeeper-operator -p kubectl-lockkeeper) ;;
        # Two programs for the two containers of a pod; the agent is the entrypoint.
        node-agent) crates+=(-p lockkeeper-node-agent -p lockkeeper-actuator) ;;
        web | pause) crates+=(-p lockkeeper-e2e-images) ;;
        *) echo "images: there is no image $name" >&2; exit 1 ;;
    esac
done
echo "images: building static binaries for $names, profile $profile (some minutes the first time)" >&2
(cd "$workspace" && CC_x86_64_unknown_linux_musl=musl-gcc \
    cargo build --quiet --profile "$profile" --target "$target" "${crates[@]}" --bins) >&2

mkdir -p "$out"
for name in $names; do
    case $name in
        operator) image=lockkeeper/$name:$tag programs="lockkeeper-operator kubectl-lockkeeper" ;;
        node-agent) image=lockkeeper/$name:$tag programs="lockkeeper-node-agent lockkeeper-actuator" ;;
        web | pause) image=lockkeeper/$name:e2e programs=$name ;;
    esac
    paths=()
    for program in $programs; do paths+=("$target_dir/$target/$profile/$program"); done
    "$here/pack.sh" "$image" "$out/$name.tar" "${paths[@]}"
    echo "$out/$name.tar"
done
