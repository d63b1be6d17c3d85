#!/bin/sh
# Installs the Debian packages that are needed; says which ones when it may not.
# Usage: packages.sh [hollow | vm | test]   (for hollow nodes, for virtual machines, for all the tests: that unless named)
set -eu

# program=package, looked up by program so that a machine set up in another way is left alone.
hollow="setpriv=util-linux"
vm="$hollow qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils mmdebstrap=mmdebstrap mke2fs=e2fsprogs
musl-gcc=musl-tools depmod=kmod xz=xz-utils"
test="$vm dbus-daemon=dbus-daemon pip3=python3-pip"
case ${1:-test} in
hollow) needs=$hollow ;;
vm) needs=$vm ;;
test) needs=$test ;;
*) echo "packages.sh: hollow, vm or test, not $1" >&2; exit 2 ;;
esac

missing=""
for need in $needs; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%=*}" >/dev/null || missing="$missing ${need#*=}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "packages.sh: these Debian packages are missing:$missing" >&2
    echo "packages.sh: install them once: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing Debian packages:$missing (about 1 min, once)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
# shellcheck disable=SC2086 # one word per package
apt-get install -q -y --no-install-recommends $missing >&2
