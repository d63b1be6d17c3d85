//! The RPM database: packages that take effect only with a reboot and were installed after the boot.
//!
//! The rule is that of `dnf needs-restarting --reboothint`: a package of the list was installed later than the host booted.
//! The database is read where it is, by a user without rights: no lock is taken, and nothing is written beside it. It is read
//! again only after one of its files changed.

mod header;
mod ndb;
mod sqlite;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use lockkeeper_channel::watch::Watched;

use super::cached::Cached;
use super::detector::{BootSpan, Detector, Finding, Look};
use super::userspace;
pub(super) use header::Package;

/// Packages whose update needs a reboot, as dnf lists them.
pub(super) const PACKAGES: [&str; 15] = [
    "dbus",
    "dbus-broker",
    "dbus-daemon",
    "glibc",
    "kernel",
    "kernel-core",
    "kernel-default",
    "kernel-rt",
    "kernel-rt-core",
    "kernel-uek",
    "kernel-uek-core",
    "linux-firmware",
    "microcode_ctl",
    "openssl-libs",
    "systemd",
];
/// The names of the database, the newer format first.
const DATABASES: [(&str, Format); 2] = [("rpmdb.sqlite", Format::Sqlite), ("Packages.db", Format::Ndb)];
/// Changes that are not in the database yet.
const LOG: &str = "rpmdb.sqlite-wal";
/// All files of a database.
const FILES: [&str; 3] = [DATABASES[0].0, LOG, DATABASES[1].0];
/// A database that is being written is looked at again after this.
const BEING_WRITTEN: Duration = Duration::from_secs(30);
/// Changes that wait for longer than this to get into the database are a problem of the database.
const LONGEST_WRITE: Duration = Duration::from_hours(1);

/// How a database is stored.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// `SQLite`: Fedora, RHEL 9 and later.
    Sqlite,
    /// The format of SUSE.
    Ndb,
}

/// Compares the times of installation with the boot.
#[derive(Debug)]
pub(super) struct RpmDatabase {
    directory: PathBuf,
    /// All packages of the list, whenever they were installed; `None` if there is no database.
    packages: Cached<Option<Vec<Package>>>,
    /// How they are read; tests count.
    read: fn(&Path) -> io::Result<Option<Vec<Package>>>,
}

impl RpmDatabase {
    /// The directory of the host's database.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            packages: Cached::new(FILES.map(|name| directory.join(name)).into()),
            read,
        }
    }

    /// Packages of the list that were installed after the boot, and after a soft-reboot that was enough for them, in a stable
    /// order; `None` if there is no database.
    fn installed_since(&self, began: DateTime<Utc>, boot: BootSpan) -> io::Result<Option<Vec<Package>>> {
        let packages = self.packages.get(boot.now, || (self.read)(&self.directory))?;
        Ok(packages.map(|mut packages| {
            let fulfilled =
                |package: &Package| boot.is_fulfilled(userspace::scope([package.name.as_str()], package.installed));
            packages.retain(|package| package.installed > began && !fulfilled(package));
            packages
        }))
    }

    fn find(&self, boot: BootSpan) -> io::Result<Option<Finding>> {
        let Some(began) = boot.began else { return Ok(None) };
        let Some(packages) = self.installed_since(began, boot)? else {
            return Ok(None);
        };
        let installed = || packages.iter().map(|package| package.installed);
        let (since, latest) = (installed().min(), installed().max().unwrap_or(boot.now));
        Ok(since.map(|since| Finding {
            since,
            signal: "packages".to_owned(),
            file: self.directory.display().to_string(),
            scope: userspace::scope(packages.iter().map(|package| package.name.as_str()), latest),
            reasons: Ok(packages.iter().map(Package::name_and_version).collect()),
        }))
    }

    /// When the log of changes that are not in the database yet was written last.
    fn pending_write(&self) -> Option<SystemTime> {
        let log = std::fs::metadata(self.directory.join(LOG)).ok()?;
        (log.len() > 0).then(|| log.modified().ok())?
    }
}

/// All packages of the list in the database of this directory, in a stable order.
fn read(directory: &Path) -> io::Result<Option<Vec<Package>>> {
    let there = DATABASES
        .into_iter()
        .map(|(name, format)| (directory.join(name), format));
    let Some((path, format)) = there.into_iter().find(|(path, _)| path.is_file()) else {
        return Ok(None);
    };
    let mut packages = match format {
        Format::Sqlite => sqlite::packages(&path, &PACKAGES)?,
        Format::Ndb => ndb::packages(&path, &PACKAGES)?,
    };
    packages.sort();
    packages.dedup();
    tracing::debug!(database = %path.display(), packages = packages.len(), "read the RPM database");
    Ok(Some(packages))
}

impl Detector for RpmDatabase {
    fn name(&self) -> &'static str {
        "RPM database"
    }

    fn watched(&self) -> Vec<Watched> {
        vec![Watched::new(&self.directory, &FILES)]
    }

    fn look(&self, boot: BootSpan) -> Look {
        let age = |written: SystemTime| SystemTime::from(boot.now).duration_since(written).unwrap_or_default();
        match self.pending_write().map(age) {
            Some(age) if age > LONGEST_WRITE => {
                let problem = "rpmdb.sqlite-wal holds changes that are not in the database yet; \
                               end the program that has it open, or run rpm --rebuilddb";
                Look::one(self.name(), Err(io::Error::other(problem)))
            }
            Some(_) => Look {
                look_again: Some(BEING_WRITTEN),
                ..Look::one(self.name(), self.find(boot))
            },
            None => Look::one(self.name(), self.find(boot)),
        }
    }
}

#[cfg(test)]
mod tests;
