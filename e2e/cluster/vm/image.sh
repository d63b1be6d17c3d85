#!/bin/bash
# Builds the disk image and the kernel of a virtual machine, once for each version of this directory and of the kubelet.
# Usage: image.sh KUBELET [stable | newer | selinux]
#   stable  Debian stable (the default)
#   newer   the same with a kernel and an AppArmor that mediate D-Bus, as Ubuntu's do: of backports and of unstable; and
#           kexec-tools
#   selinux Debian stable with SELinux in place of AppArmor, which enforces if the kernel's command line says so; needs root
# Prints the directory that holds base.img and vmlinuz; progress goes to stderr.
set -euo pipefail

kubelet=${1:?usage: image.sh KUBELET_BINARY [stable | newer | selinux]}
release=${2:-stable}
here=$(cd "$(dirname "$0")" && pwd)
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}
suite=trixie
packages=systemd-sysv,systemd,dbus,polkitd,udev,kmod,procps,iproute2,iptables,containerd,runc
packages+=,containernetworking-plugins,qemu-guest-agent
# docs/recipes.md installs this package on Debian; a guest has no network to install it from.
packages+=,unattended-upgrades
case $release in
stable) packages+=,apparmor,linux-image-cloud-amd64 ;;
newer)
    # Initramfs-tools is named, because apt would otherwise take dracut, which is the first alternative of this kernel.
    packages+=,kexec-tools,initramfs-tools,linux-image-cloud-amd64/trixie-backports,apparmor/sid,libapparmor1/sid
    ;;
selinux) packages+=,linux-image-cloud-amd64,selinux-policy-default,policycoreutils,selinux-utils ;;
*) echo "image.sh: expected stable, newer or selinux, not $release" >&2; exit 2 ;;
esac

# Units that Lockkeeper does not need and that slow down the boot of a guest.
masked="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer
    systemd-tmpfiles-clean.timer getty@tty1.service getty-static.service serial-getty@ttyS0.service
    systemd-pstore.service ldconfig.service systemd-hwdb-update.service systemd-journal-catalog-update.service
    systemd-update-done.service systemd-firstboot.service systemd-binfmt.service systemd-random-seed.service
    proc-sys-fs-binfmt_misc.automount systemd-hibernate-clear.service systemd-ask-password-wall.path
    systemd-ask-password-console.path systemd-pcrphase.service systemd-pcrphase-sysinit.service
    systemd-pcrmachine.service systemd-tpm2-setup.service systemd-tpm2-setup-early.service
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount
    systemd-journal-flush.service systemd-machine-id-commit.service systemd-user-sessions.service
    systemd-udev-load-credentials.service kmod-static-nodes.service systemd-sysusers.service run-lock.mount
    modprobe@.service systemd-initctl.socket systemd-sysext.socket systemd-creds.socket systemd-hostnamed.socket
    sys-kernel-config.mount systemd-tmpfiles-setup-dev-early.service unattended-upgrades.service"

say() { echo "vm image: $*" >&2; }

# Further suites of the mirror that this machine installs from. The index of unstable is valid for a week, and a mirror may lag.
newer_sources() {
    local mirror
    # shellcheck disable=SC2016 # apt-get fills it in.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    printf 'Types: deb\nURIs: %s\nSuites: %s-backports sid\nComponents: main\nCheck-Valid-Until: no\n' "$mirror" "$suite"
}

# The key is a hash of everything that the image is built from.
key=$({ echo "$release"; cat "$0" "$kubelet" "$here"/newer.* "$here"/selinux/*; cd "$here/guest" && find . -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-16)
out=$cache/vm/$key
if [ -e "$out/complete" ]; then
    touch "$out"
    echo "$out"
    exit 0
fi

"$here/../packages.sh" vm
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$cache/vm"
# One build at a time: if two runs start together, the second one waits and finds the image built.
exec 9>"$cache/vm/.lock"
flock 9
if [ -e "$out/complete" ]; then
    echo "$out"
    exit 0
fi
rm -rf "$out" "$cache/vm/".tmp.*
# An image has half a gigabyte: delete those that were not used for a week.
find "$cache/vm" -mindepth 1 -maxdepth 1 -type d -mtime +7 -exec rm -rf {} +
work=$(mktemp -d "$cache/vm/.tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ "$release" = selinux ] && [ "$(id -u)" != 0 ]; then
    echo "image.sh: the labels of SELinux need root: run it as root" >&2
    exit 1
fi
# Files of many owners need root: the real one, or a user namespace.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(mmdebstrap --unshare-helper)

# Installing the packages takes longest and they rarely change, so they are cached by themselves.
rootfs=$cache/vm/rootfs-$suite-$(echo "$packages" | sha256sum | cut -c1-16).tar
if [ ! -e "$rootfs" ]; then
    say "1 of 3: installing Debian $suite into a tree (about 1 min, once)"
    apt=()
    if [ "$release" = newer ]; then
        newer_sources >"$work/newer.sources"
        apt=("--setup-hook=upload $work/newer.sources /etc/apt/sources.list.d/newer.sources"
            "--setup-hook=upload $here/newer.pref /etc/apt/preferences.d/newer.pref")
    fi
    mmdebstrap --quiet --variant=minbase --include="$packages" "${apt[@]}" \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$work/rootfs.tar" >&2
    mv "$work/rootfs.tar" "$rootfs"
fi

say "2 of 3: adding kubelet, containerd and boot settings (seconds)"
cat >"$work/assemble" <<'ASSEMBLE'
set -eu
work=$1 rootfs=$2 guest=$3 kubelet=$4 policy=$5; shift 5
root=$work/root
mkdir "$root"
tar --extract --numeric-owner --file "$rootfs" --directory "$root"
cp --recursive "$guest/." "$root/"
chown --recursive 0:0 "$root/etc/systemd" "$root/etc/containerd" "$root/etc/kubernetes" "$root/usr/local"
find "$root/usr/local/lib/lockkeeper" -type f -exec chmod 0755 {} +
install -m 0755 "$kubelet" "$root/usr/local/bin/kubelet"
for unit in "$@"; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
wants=$root/etc/systemd/system/multi-user.target.wants
for unit in node-setup node-images kubelet; do ln -s "../$unit.service" "$wants/$unit.service"; done
# With emulation, reading an uncompressed module is faster than decompressing it.
find "$root/usr/lib/modules" -name '*.ko.xz' -exec xz --decompress {} +
depmod --basedir "$root" "$(basename "$root"/usr/lib/modules/*)"
# Each generator runs a program at boot, for disks, services and consoles that a node does not have.
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/usr/lib/systemd/system-generators/*; do
    ln -s /dev/null "$root/etc/systemd/system-generators/$(basename "$generator")"
done
# A node only needs the udev rules that load drivers and start units for devices.
find "$root/usr/lib/udev/rules.d" -type f ! -name 50-udev-default.rules ! -name 80-drivers.rules \
    ! -name 99-systemd.rules ! -name '*qemu-guest-agent.rules' -delete
# The profiles of desktop programs take seconds to load at each boot. containerd brings the profile of pods itself.
if [ -d "$root/etc/apparmor.d" ]; then find "$root/etc/apparmor.d" -maxdepth 1 -type f ! -name runc -delete; fi
# The kernel command line sets the name and the machine ID of a node.
rm -f "$root/etc/hostname"
: >"$root/etc/machine-id"
cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
rm -f "$root"/boot/*
ln -sf /proc/self/mounts "$root/etc/mtab"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
if [ -n "$policy" ]; then "$policy/label" "$root" "$policy/node.cil"; fi
say() { echo "vm image: $*" >&2; }
say "3 of 3: writing the disk image (seconds)"
truncate -s 4G "$work/base.img"
mke2fs -q -t ext4 -m 0 -E lazy_itable_init=0,lazy_journal_init=0 -L root -d "$root" "$work/base.img"
rm -rf "$root"
ASSEMBLE
policy=""
[ "$release" != selinux ] || policy=$here/selinux
# shellcheck disable=SC2086 # one word per unit
"${as_root[@]}" sh "$work/assemble" "$work" "$rootfs" "$here/guest" "$kubelet" "$policy" $masked

rm "$work/assemble"
touch "$work/complete"
chmod 0755 "$work"
mv "$work" "$out"
trap - EXIT
say "done: $out"
echo "$out"
