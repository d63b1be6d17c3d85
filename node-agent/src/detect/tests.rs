//! The detectors on files as programs and people leave them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;

use expect_test::{Expect, expect};

use chrono::{DateTime, Utc};
use lockkeeper_crds::host::{Cause, DetectorState};
use rustix::io::Errno;

use super::files::explain;
use super::*;

mod soft_reboots;

/// The first file of a test is written then.
const FIRST: i64 = 1_800_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(FIRST + seconds, 0).unwrap()
}

/// The host booted 1000 s before the first file was written, and the present time is 1000 s after it.
fn boot() -> BootSpan {
    BootSpan {
        began: Some(at(-1000)),
        soft_rebooted: None,
        now: at(1000),
    }
}

fn found_in(run: &Path) -> RebootRequired {
    detect(run, boot())
}

fn detect(run: &Path, boot: BootSpan) -> RebootRequired {
    let host = HostDirectories {
        run: run.to_owned(),
        ..HostDirectories::default()
    };
    let detectors = Detectors::new(&DetectorSettings::default(), &host).unwrap();
    let detected = detectors.look(boot);
    assert_eq!(detected.look_again, None);
    detected.required
}

fn write(run: &Path, name: &str, text: &str, written: DateTime<Utc>) {
    let path = run.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(written.into()).unwrap();
}

/// Each file is written ten seconds after the one before.
fn check(files: &[(&str, &str)], expected: &Expect) {
    let run = tempfile::tempdir().unwrap();
    for (index, (name, text)) in files.iter().enumerate() {
        write(run.path(), name, text, at(10 * index as i64));
    }
    expected.assert_eq(&print(&found_in(run.path())));
}

fn print(found: &RebootRequired) -> String {
    let reasons: Vec<&str> = found.reasons.iter().map(|Cause(reason)| reason.as_str()).collect();
    let since = found.since.map(|time| time.timestamp() - FIRST);
    format!(
        "{} since={since:?} source={:?} {reasons:?}",
        found.required, found.source
    )
}

#[test]
fn an_empty_run_directory_requires_no_reboot() {
    check(&[], &expect![[r#"false since=None source="" []"#]]);
}

#[test]
fn debian_names_its_packages_sorted_and_once() {
    check(
        &[
            ("reboot-required", "*** System restart required ***\n"),
            ("reboot-required.pkgs", "linux-image-6.12\nlibc6\nlinux-image-6.12\n"),
        ],
        &expect![[r#"true since=Some(0) source="Debian sentinel" ["libc6", "linux-image-6.12"]"#]],
    );
}

#[test]
fn debian_without_packages_still_has_a_reason() {
    check(
        &[("reboot-required", "")],
        &expect![[r#"true since=Some(0) source="Debian sentinel" ["reboot-required"]"#]],
    );
}

#[test]
fn the_sentinel_of_bootc_names_its_image() {
    check(
        &[("reboot-required", "bootc: Reboot required for image: sha256:3e65df95")],
        &expect![[
            r#"true since=Some(0) source="Debian sentinel" ["bootc: Reboot required for image: sha256:3e65df95"]"#
        ]],
    );
}

#[test]
fn the_sentinel_of_bootc_is_no_signal_while_its_deployment_is_locked() {
    let locked = include_bytes!("../../tests/data/ostree/locked");
    let unlocked = include_bytes!("../../tests/data/ostree/unlocked");
    let composefs = |locked: bool| format!(r#"{{"depl_id":"af36eb00","finalization_locked":{locked}}}"#).into_bytes();
    for (file, locked, unlocked) in [
        ("ostree/staged-deployment", locked.to_vec(), unlocked.to_vec()),
        ("composefs/staged-deployment", composefs(true), composefs(false)),
    ] {
        let run = tempfile::tempdir().unwrap();
        write(
            run.path(),
            DEBIAN,
            "bootc: Reboot required for image: sha256:3e65df95",
            at(0),
        );
        write(run.path(), file, "", at(0));
        let required = |staged: &[u8]| {
            fs::write(run.path().join(file), staged).unwrap();
            found_in(run.path()).required
        };
        assert!(!required(&locked), "{file}");
        assert!(required(&unlocked), "{file}");
        assert!(required(b"broken"), "{file}");
        write(run.path(), DEBIAN, "*** System restart required ***\n", at(0));
        assert!(required(&locked), "{file}: the sentinel of another program");
    }
}

#[test]
fn packages_without_the_sentinel_require_no_reboot() {
    check(
        &[("reboot-required.pkgs", "libc6\n")],
        &expect![[r#"false since=None source="" []"#]],
    );
}

#[test]
fn the_first_word_of_the_suse_file_is_the_kind_of_reboot() {
    check(
        &[("reboot-needed", "soft-reboot and more\n")],
        &expect![[r#"true since=Some(0) source="SUSE sentinel" ["reboot-needed: soft-reboot"]"#]],
    );
}

#[test]
fn a_dropped_file_may_be_empty_or_hold_lines_or_json() {
    check(
        &[
            (
                "lockkeeper/reboot-required.d/needrestart",
                "{\"reasons\": [\"kernel 6.1 -> 6.12\"]}",
            ),
            ("lockkeeper/reboot-required.d/firmware", "microcode\nbios\n"),
            ("lockkeeper/reboot-required.d/uptime", ""),
            ("lockkeeper/reboot-required.d/.half", "written"),
        ],
        &expect![[
            r#"true since=Some(0) source="firmware, needrestart, uptime" ["bios", "kernel 6.1 -> 6.12", "microcode", "uptime"]"#
        ]],
    );
}

#[test]
fn the_oldest_of_several_files_sets_the_time() {
    check(
        &[("reboot-needed", "reboot"), ("reboot-required", "")],
        &expect![[
            r#"true since=Some(0) source="Debian sentinel, SUSE sentinel" ["reboot-needed: reboot", "reboot-required"]"#
        ]],
    );
}

#[test]
fn a_failing_detector_is_reported_by_name() {
    let run = tempfile::tempdir().unwrap();
    fs::create_dir(run.path().join("reboot-needed")).unwrap();
    let found = found_in(run.path());
    assert!(!found.required);
    assert_eq!(
        found.failing,
        [Cause("SUSE sentinel cannot be read: not a regular file".into())]
    );
}

#[test]
fn a_failing_detector_does_not_change_the_reasons_of_the_others() {
    let run = tempfile::tempdir().unwrap();
    fs::write(run.path().join(DEBIAN), "").unwrap();
    let healthy = found_in(run.path());
    fs::create_dir(run.path().join("reboot-needed")).unwrap();
    let found = found_in(run.path());
    assert_eq!((found.required, found.since), (true, healthy.since));
    assert_eq!((found.reasons, found.failing.len()), (healthy.reasons, 1));
}

/// What a detector reports whose reasons cannot be read.
fn check_unreadable(run: &Path, reason: &str, failing: &str) {
    let found = found_in(run);
    let failing = [Cause(failing.to_owned())];
    assert_eq!((found.required, found.since.is_some()), (true, true), "{found:?}");
    assert_eq!(
        (found.reasons, found.failing),
        (vec![Cause(reason.to_owned())], failing.into())
    );
}

#[test]
fn a_package_list_that_is_a_link_hides_no_required_reboot() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), DEBIAN, "", at(0));
    write(run.path(), "packages", "fwupd\n", at(0));
    symlink("packages", run.path().join(DEBIAN_PACKAGES)).unwrap();
    check_unreadable(
        run.path(),
        "reboot-required",
        "Debian sentinel requires a reboot, but reboot-required.pkgs cannot be read: a symbolic link is not \
         followed; replace it with the file",
    );
}

#[test]
fn a_package_list_that_is_no_file_hides_no_required_reboot() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), DEBIAN, "", at(0));
    fs::create_dir(run.path().join(DEBIAN_PACKAGES)).unwrap();
    check_unreadable(
        run.path(),
        "reboot-required",
        "Debian sentinel requires a reboot, but reboot-required.pkgs cannot be read: not a regular file",
    );
}

#[test]
fn a_suse_file_that_cannot_be_read_still_requires_a_reboot() {
    let run = tempfile::tempdir().unwrap();
    symlink("/nowhere", run.path().join(SUSE)).unwrap();
    check_unreadable(
        run.path(),
        "reboot-needed",
        "SUSE sentinel requires a reboot, but reboot-needed cannot be read: a symbolic link is not followed; \
         replace it with the file",
    );
}

#[test]
fn a_dropped_file_that_cannot_be_read_still_requires_a_reboot() {
    let run = tempfile::tempdir().unwrap();
    let directory = run.path().join(LOCKKEEPER).join(DROP_DIRECTORY);
    fs::create_dir_all(&directory).unwrap();
    symlink("/nowhere", directory.join("firmware")).unwrap();
    check_unreadable(
        run.path(),
        "firmware",
        "firmware requires a reboot, but firmware cannot be read: a symbolic link is not followed; replace it with \
         the file",
    );
}

#[test]
fn a_file_that_only_root_may_read_names_the_remedy() {
    let error = io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error());
    let text = explain(&error);
    assert!(text.ends_with("make it readable for all users (chmod a+rX)"), "{text}");
}

#[test]
fn a_time_before_the_boot_or_in_the_future_does_not_count() {
    for impossible in [at(-1001), at(1001), DateTime::UNIX_EPOCH] {
        let run = tempfile::tempdir().unwrap();
        write(run.path(), DEBIAN, "", impossible);
        assert_eq!(found_in(run.path()).since, Some(at(1000)), "{impossible}");
        write(run.path(), SUSE, "", at(5));
        assert_eq!(found_in(run.path()).since, Some(at(5)), "{impossible}");
    }
}

#[test]
fn without_a_known_boot_time_no_time_of_a_file_counts() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), DEBIAN, "", at(0));
    let unknown = BootSpan { began: None, ..boot() };
    assert_eq!(detect(run.path(), unknown).since, Some(at(1000)));
}

#[test]
fn the_error_of_a_missing_run_directory_names_the_remedy() {
    let found = found_in(Path::new("/nowhere/run"));
    assert!(!found.required);
    assert!(found.failing[0].0.contains("mount the host's /run there"), "{found:?}");
}

#[test]
fn reasons_are_bounded() {
    let packages: Vec<String> = (0..100).map(|number| format!("package-{number:03}")).collect();
    let run = tempfile::tempdir().unwrap();
    fs::write(run.path().join(DEBIAN), "").unwrap();
    fs::write(run.path().join(DEBIAN_PACKAGES), packages.join("\n")).unwrap();
    let found = found_in(run.path());
    assert_eq!(found.reasons.len(), 32);
    assert_eq!(found.reasons[31].0, "package-031");
}

#[test]
fn each_detector_says_what_it_saw() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), "smart-restart/reboot-hint-marker", "", at(0));
    fs::create_dir(run.path().join(SUSE)).unwrap();
    let found = found_in(run.path());
    let seen: Vec<(&str, DetectorState, &str)> = found
        .detectors
        .iter()
        .map(|detector| (detector.name.as_str(), detector.state, detector.message.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("Debian sentinel", DetectorState::NotRequired, ""),
            (
                "SUSE sentinel",
                DetectorState::Failing,
                "SUSE sentinel cannot be read: not a regular file"
            ),
            (
                "Amazon Linux sentinel",
                DetectorState::Required,
                "smart-restart/reboot-hint-marker"
            ),
            ("drop directory", DetectorState::NotRequired, ""),
        ]
    );
}

#[test]
fn a_sentinel_in_a_directory_that_does_not_exist_yet_is_watched() {
    let run = tempfile::tempdir().unwrap();
    let host = HostDirectories {
        run: run.path().to_owned(),
        ..HostDirectories::default()
    };
    let settings = DetectorSettings {
        names: vec![],
        sentinels: vec!["/run/ours/reboot".into()],
        ..DetectorSettings::default()
    };
    let detectors = Detectors::new(&settings, &host).unwrap();
    let watched: Vec<_> = detectors.watched().into_iter().map(|watched| watched.names).collect();
    assert_eq!(watched, [["ours"], ["reboot"]]);
    assert!(!detectors.look(boot()).required.required);
    write(run.path(), "ours/reboot", "", at(0));
    let required = detectors.look(boot()).required;
    assert!(required.required);
    assert_eq!(required.source, "sentinel ours/reboot");
    assert_eq!(required.reasons, [Cause("ours/reboot".to_owned())]);
}

#[test]
fn each_directory_is_watched_once_with_the_names_of_all_detectors() {
    let host = HostDirectories {
        run: "/host/run".into(),
        ..HostDirectories::default()
    };
    let detectors = Detectors::new(&DetectorSettings::default(), &host).unwrap();
    let watched = detectors.watched();
    let directories: Vec<_> = watched
        .iter()
        .map(|watched| watched.directory.to_str().unwrap())
        .collect();
    assert_eq!(
        directories,
        [
            "/host/run",
            "/host/run/composefs",
            "/host/run/lockkeeper",
            "/host/run/lockkeeper/reboot-required.d",
            "/host/run/ostree",
            "/host/run/smart-restart",
        ]
    );
    let names = [
        "composefs",
        "lockkeeper",
        "ostree",
        "reboot-needed",
        "reboot-required",
        "reboot-required.pkgs",
        "smart-restart",
    ];
    assert_eq!(watched[0].names, names);
    assert!(watched[3].names.is_empty(), "all names");
}
