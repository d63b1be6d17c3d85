//! What a soft-reboot is enough for, and what it has fulfilled although its files are still there.

use super::*;

/// What is required by these files, each written ten seconds after the one before, if the host soft-rebooted then.
fn found(files: &[(&str, &str)], soft_rebooted: Option<i64>) -> (bool, bool) {
    let run = tempfile::tempdir().unwrap();
    for (index, (name, text)) in files.iter().enumerate() {
        write(run.path(), name, text, at(10 * index as i64));
    }
    let boot = BootSpan {
        soft_rebooted: soft_rebooted.map(at),
        ..boot()
    };
    let found = detect(run.path(), boot);
    (found.required, found.userspace_only)
}

const FULLY: (bool, bool) = (true, false);
const USERSPACE: (bool, bool) = (true, true);
const NOTHING: (bool, bool) = (false, false);

#[test]
fn a_soft_reboot_is_enough_only_for_packages_that_are_known() {
    let debian = |packages: &'static str| [(DEBIAN_PACKAGES, packages), (DEBIAN, "")];
    assert_eq!(found(&debian("libc6\nlibssl3t64\n"), None), USERSPACE);
    assert_eq!(found(&debian("libc6\nlinux-image-6.12\n"), None), FULLY);
    assert_eq!(found(&debian(""), None), FULLY);
    assert_eq!(found(&[(DEBIAN, "")], None), FULLY);
    assert_eq!(found(&[(SUSE, "soft-reboot\n")], None), USERSPACE);
    assert_eq!(found(&[(SUSE, "reboot\n")], None), FULLY);
    assert_eq!(found(&[("lockkeeper/reboot-required.d/libc6", "libc6\n")], None), FULLY);
    assert_eq!(found(&[("smart-restart/reboot-hint-marker", "")], None), FULLY);
}

#[test]
fn one_requirement_that_needs_more_or_one_detector_that_fails_needs_a_boot() {
    let debian = [(DEBIAN_PACKAGES, "libc6\n"), (DEBIAN, "")];
    let with = |other| [&debian[..], &[other]].concat();
    assert_eq!(found(&with(("lockkeeper/reboot-required.d/firmware", "")), None), FULLY);
    assert_eq!(found(&with((SUSE, "soft-reboot\n")), None), USERSPACE);
    assert_eq!(
        found(&with(("smart-restart", "a file in place of a directory")), None),
        USERSPACE
    );
    let run = tempfile::tempdir().unwrap();
    write(run.path(), DEBIAN_PACKAGES, "libc6\n", at(0));
    write(run.path(), DEBIAN, "", at(0));
    fs::create_dir(run.path().join(SUSE)).unwrap();
    let failing = found_in(run.path());
    assert_eq!((failing.required, failing.userspace_only), FULLY, "{failing:?}");
}

#[test]
fn a_soft_reboot_fulfils_what_was_required_before_it_and_was_of_the_userspace() {
    let debian = [(DEBIAN, ""), (DEBIAN_PACKAGES, "libc6\n")];
    assert_eq!(found(&debian, Some(-1)), USERSPACE, "it was required after it");
    assert_eq!(found(&debian, Some(0)), USERSPACE, "in the same second");
    // The list was changed later than the sentinel.
    assert_eq!(found(&debian, Some(10)), USERSPACE);
    assert_eq!(found(&debian, Some(11)), NOTHING);
    assert_eq!(found(&[(SUSE, "soft-reboot\n")], Some(11)), NOTHING);
    let kernel = [(DEBIAN, ""), (DEBIAN_PACKAGES, "libc6\nlinux-image-6.12\n")];
    assert_eq!(found(&kernel, Some(11)), FULLY);
    let other = [debian[0], debian[1], ("lockkeeper/reboot-required.d/firmware", "")];
    assert_eq!(found(&other, Some(11)), FULLY, "the other requirement stays");
}
