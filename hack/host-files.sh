#!/bin/bash
# Checks the files that are installed on hosts (deploy/host) with the programs that read them there.
set -euo pipefail
cd "$(dirname "$0")/../deploy/host"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
PATH=$PATH:/usr/sbin:/sbin
failed=0

fail() {
    echo "host-files.sh: $1" >&2
    cat "$scratch/output" >&2
    failed=1
}

# Usage: check COMPLAINT COMMAND...
check() {
    local what=$1
    shift
    "$@" >"$scratch/output" 2>&1 || fail "$what"
}

check "the AppArmor profile is wrong" apparmor_parser --skip-kernel-load --skip-cache apparmor/lockkeeper-actuator

# Once as it is, and once with each optional part, because secilc leaves out a part that it cannot resolve.
for part in optional block; do
    sed "s/(optional /($part /" selinux/lockkeeper.cil >"$scratch/lockkeeper.cil"
    check "the SELinux module is wrong" \
        secilc -o "$scratch/policy" -f "$scratch/contexts" ../../hack/selinux-names.cil "$scratch/lockkeeper.cil"
done

# systemd looks for the program of a unit, which is not installed here.
sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' systemd/lockkeeper-actuator.service >"$scratch/lockkeeper-actuator.service"
check "the unit is wrong" systemd-analyze verify --man=no "$scratch/lockkeeper-actuator.service"
[ ! -s "$scratch/output" ] || fail "systemd-analyze verify has a complaint"
# The score of this unit is 1.1 of 10. UID 0 and the local socket are what it is for.
check "the unit is less confined than before" \
    systemd-analyze security --no-pager --offline=yes --threshold=12 "$scratch/lockkeeper-actuator.service"
# Only root can make a directory of root.
if [ "$(id -u)" = 0 ]; then
    check "the directories are wrong" \
        systemd-tmpfiles --create --root="$scratch" "$PWD/systemd/lockkeeper-actuator.tmpfiles"
    [ "$(stat -c %u:%g:%a "$scratch/run/lockkeeper/channel" 2>&1)" = 0:65532:2770 ] ||
        fail "the shared directory has another owner or mode"
fi

exit $failed
