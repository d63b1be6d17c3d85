#!/bin/sh
# Installs the Debian packages that are needed, or lists them if it is not run as root.
# Usage: packages.sh [check | hollow | vm | test]
#   check   for `make check`
#   hollow  for a cluster of hollow nodes
#   vm      for a cluster of virtual machines
#   test    for all of these (the default)
set -eu

# program=package. A package is missing if its program is not in PATH, so a program from another source counts too.
check="shellcheck=shellcheck codespell=codespell python3=python3 apparmor_parser=apparmor secilc=secilc
systemd-analyze=systemd"
hollow="setpriv=util-linux"
vm="$hollow qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils mmdebstrap=mmdebstrap mke2fs=e2fsprogs
musl-gcc=musl-tools depmod=kmod xz=xz-utils"
test="$check $vm dbus-daemon=dbus-daemon pip3=python3-pip rpmbuild=rpm dnf=dnf-plugins-core faketime=faketime"
case ${1:-test} in
check) needs=$check ;;
hollow) needs=$hollow ;;
vm) needs=$vm ;;
test) needs=$test ;;
*) echo "packages.sh: expected check, hollow, vm or test, not $1" >&2; exit 2 ;;
esac

missing=""
for need in $needs; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%=*}" >/dev/null || missing="$missing ${need#*=}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "packages.sh: these Debian packages are missing:$missing" >&2
    echo "packages.sh: install them: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing Debian packages:$missing (about 1 min, once)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
# shellcheck disable=SC2086 # one word per package
apt-get install -q -y --no-install-recommends $missing >&2
