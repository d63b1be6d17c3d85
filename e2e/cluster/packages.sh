#!/bin/sh
# Installs the Debian packages that the tests need; says which ones when it may not.
set -eu

# program=package, looked up by program so that a machine set up in another way is left alone.
needs="qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils mmdebstrap=mmdebstrap mke2fs=e2fsprogs
musl-gcc=musl-tools setpriv=util-linux depmod=kmod xz=xz-utils dbus-daemon=dbus-daemon pip3=python3-pip"

missing=""
for need in $needs; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%=*}" >/dev/null || missing="$missing ${need#*=}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "packages.sh: the tests need these Debian packages:$missing" >&2
    echo "packages.sh: install them once: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing Debian packages:$missing (about 1 min, once)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
# shellcheck disable=SC2086 # one word per package
apt-get install -q -y --no-install-recommends $missing >&2
