//! Packages that take effect once all programs have started again. Any other one may need a new kernel, initrd or firmware.
//!
//! A name is listed only if nothing of the package runs before the userspace does: a soft-reboot starts systemd itself
//! again too.

use chrono::{DateTime, Utc};

use super::detector::Scope;

/// Debian's, Ubuntu's and RPM's names.
const PACKAGES: [&str; 23] = [
    "dbus",
    "dbus-bin",
    "dbus-broker",
    "dbus-daemon",
    "dbus-system-bus-common",
    "dbus-user-session",
    "glibc",
    "libc-bin",
    "libc6",
    "libgnutls30",
    "libgnutls30t64",
    "libpam-systemd",
    "libssl1.1",
    "libssl3",
    "libssl3t64",
    "libsystemd-shared",
    "libsystemd0",
    "openssl",
    "openssl-libs",
    "systemd",
    "systemd-libs",
    "systemd-sysv",
    "systemd-timesyncd",
];

/// How much of the host must be rebooted for an update of all these packages, the last one of this time. No package at all is
/// an unknown one.
pub(super) fn scope<'a>(packages: impl IntoIterator<Item = &'a str>, latest: DateTime<Utc>) -> Scope {
    let mut packages = packages.into_iter().peekable();
    let some = packages.peek().is_some();
    if some && packages.all(|package| PACKAGES.binary_search(&package).is_ok()) {
        Scope::Userspace { latest }
    } else {
        Scope::Host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted() {
        assert!(PACKAGES.is_sorted());
    }

    #[test]
    fn only_packages_that_are_known_by_their_exact_names_need_no_new_kernel() {
        let latest = DateTime::UNIX_EPOCH;
        for (packages, userspace) in [
            (&["libc6"][..], true),
            (&["libssl3t64", "dbus", "systemd"], true),
            (&["glibc", "openssl-libs"], true),
            (&["linux-image-6.12.0-2-amd64"], false),
            (&["libc6", "linux-base"], false),
            (&["intel-microcode"], false),
            (&["linux-firmware"], false),
            (&["libc6-i386"], false),
            (&[""], false),
            (&[], false),
        ] {
            let found = scope(packages.iter().copied(), latest);
            assert_eq!(found == Scope::Userspace { latest }, userspace, "{packages:?}");
        }
    }
}
