//! Real databases, and what becomes of broken ones.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use lockkeeper_channel::watch::Watched;

use super::*;
use crate::detect::Scope;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rpm").join(name)
}

/// A directory with one of the databases.
fn copy_of(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(data(name), directory.path().join(name)).unwrap();
    directory
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// What the detector says of a host that booted so long before the packages were installed.
fn found(directory: &Path, installed: i64, boot_before: i64) -> Vec<String> {
    let began = at(installed - boot_before);
    let boot = BootSpan {
        began: Some(began),
        soft_rebooted: None,
        now: began + TimeDelta::days(1),
    };
    let mut look = RpmDatabase::new(directory).look(boot);
    let finding = look.seen.remove(0).finding.unwrap();
    finding.map_or(vec![], |finding| finding.reasons.unwrap())
}

/// When the packages of `rpmdb.sqlite` were installed, as `rpm -qa` prints it.
const RPM: i64 = 1_796_032_272;
/// The same of `glibc` in `Packages.db`.
const SUSE: i64 = 1_638_530_310;

#[test]
fn a_soft_reboot_fulfils_packages_of_the_userspace_only() {
    let sqlite = copy_of("rpmdb.sqlite");
    let look = |soft_rebooted: i64| {
        let boot = BootSpan {
            began: Some(at(RPM - 1)),
            soft_rebooted: Some(at(soft_rebooted)),
            now: at(RPM + 3600),
        };
        let mut look = RpmDatabase::new(sqlite.path()).look(boot);
        let finding = look.seen.remove(0).finding.unwrap().unwrap();
        (finding.reasons.unwrap(), finding.scope)
    };
    let both = ["glibc-6.12.0-55.9.1.el10", "kernel-core-6.12.0-55.9.1.el10"];
    assert_eq!(look(RPM), (both.map(str::to_owned).to_vec(), Scope::Host));
    assert_eq!(look(RPM + 1), (vec![both[1].to_owned()], Scope::Host));
}

#[test]
fn packages_of_the_list_that_were_installed_after_the_boot_require_a_reboot() {
    let sqlite = copy_of("rpmdb.sqlite");
    let both = ["glibc-6.12.0-55.9.1.el10", "kernel-core-6.12.0-55.9.1.el10"];
    assert_eq!(found(sqlite.path(), RPM, 1), both);
    assert_eq!(
        found(sqlite.path(), RPM, 0),
        [""; 0],
        "installed in the second of the boot"
    );
    assert_eq!(found(sqlite.path(), RPM, -3600), [""; 0]);
    let suse = copy_of("Packages.db");
    assert_eq!(found(suse.path(), SUSE, 1), ["glibc-2.31-9.3.2"]);
    assert_eq!(found(suse.path(), SUSE, -3600), [""; 0]);
}

#[test]
fn the_database_is_read_again_only_after_it_changed() {
    static READS: AtomicUsize = AtomicUsize::new(0);
    fn counted(directory: &Path) -> io::Result<Option<Vec<Package>>> {
        READS.fetch_add(1, Ordering::Relaxed);
        read(directory)
    }
    let sqlite = copy_of("rpmdb.sqlite");
    let database = RpmDatabase {
        read: counted,
        ..RpmDatabase::new(sqlite.path())
    };
    let reasons = |boot_before: i64| {
        let boot = BootSpan {
            began: Some(at(RPM - boot_before)),
            soft_rebooted: None,
            now: Utc::now() + TimeDelta::minutes(1),
        };
        let finding = database.look(boot).seen.remove(0).finding.unwrap();
        (
            finding.map_or(0, |finding| finding.reasons.unwrap().len()),
            READS.load(Ordering::Relaxed),
        )
    };
    assert_eq!([reasons(1), reasons(1)], [(2, 1), (2, 1)]);
    assert_eq!(reasons(0), (0, 1), "another boot time needs no other read");
    let file = sqlite.path().join("rpmdb.sqlite");
    let written = fs::File::options().append(true).open(&file).unwrap();
    written.set_modified(at(RPM).into()).unwrap();
    assert_eq!([reasons(1), reasons(1)], [(2, 2), (2, 2)]);
    fs::write(sqlite.path().join(LOG), "").unwrap();
    assert_eq!([reasons(1), reasons(1)], [(2, 3), (2, 3)]);
}

#[test]
fn a_host_without_a_database_or_a_boot_time_requires_none() {
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(found(empty.path(), RPM, 1), [""; 0]);
    let sqlite = copy_of("rpmdb.sqlite");
    let boot = BootSpan {
        began: None,
        soft_rebooted: None,
        now: at(RPM),
    };
    let look = RpmDatabase::new(sqlite.path()).look(boot);
    assert!(look.seen[0].finding.as_ref().unwrap().is_none());
}

#[test]
fn nothing_is_written_beside_the_database() {
    let sqlite = copy_of("rpmdb.sqlite");
    found(sqlite.path(), RPM, 1);
    let names: Vec<_> = fs::read_dir(sqlite.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["rpmdb.sqlite"]);
}

#[test]
fn a_database_that_is_being_written_is_looked_at_again_and_one_that_stays_so_fails() {
    let sqlite = copy_of("rpmdb.sqlite");
    let log = sqlite.path().join("rpmdb.sqlite-wal");
    fs::write(&log, "x").unwrap();
    let written: DateTime<Utc> = fs::metadata(&log).unwrap().modified().unwrap().into();
    let look = |after: TimeDelta| {
        let boot = BootSpan {
            began: Some(at(RPM - 1)),
            soft_rebooted: None,
            now: written + after,
        };
        RpmDatabase::new(sqlite.path()).look(boot)
    };
    let soon = look(TimeDelta::seconds(5));
    assert_eq!(soon.look_again, Some(BEING_WRITTEN));
    assert!(soon.seen[0].finding.as_ref().unwrap().is_some());
    let late = look(TimeDelta::hours(2)).seen.remove(0).finding.unwrap_err();
    assert!(late.to_string().contains("rpm --rebuilddb"), "{late}");
}

/// Whatever is broken, nothing is required, nothing panics, and the error names a remedy or the file.
#[test]
fn a_broken_database_is_an_error() {
    for name in ["rpmdb.sqlite", "Packages.db"] {
        let whole = fs::read(data(name)).unwrap();
        for cut in [0, 1, 15, 16, 40, 4095, 4096, 4200, 9000, whole.len() / 2] {
            check_broken(name, &whole[..cut], &format!("cut to {cut}"));
        }
        for (place, step) in [(0, 1), (8, 16), (4096, 32)] {
            let mut bytes = whole.clone();
            for byte in bytes.iter_mut().skip(place).step_by(step).take(64) {
                *byte ^= 0xff;
            }
            check_broken(name, &bytes, &format!("changed at {place}"));
        }
    }
}

fn check_broken(name: &str, bytes: &[u8], what: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(name), bytes).unwrap();
    let boot = BootSpan {
        began: Some(at(0)),
        soft_rebooted: None,
        now: at(RPM),
    };
    let seen = RpmDatabase::new(directory.path()).look(boot).seen.remove(0);
    match seen.finding {
        Ok(found) => {
            let reasons = found.map_or(vec![], |finding| finding.reasons.unwrap());
            assert!(reasons.len() <= 2, "{name} {what}: {reasons:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "{name} {what}"),
    }
}

#[test]
fn the_database_and_its_log_are_watched() {
    let watched = RpmDatabase::new(Path::new("/host/rpm")).watched();
    let [Watched { directory, names }] = &watched[..] else {
        panic!("{watched:?}")
    };
    assert_eq!(directory, Path::new("/host/rpm"));
    assert_eq!(names, &["rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db"]);
}
