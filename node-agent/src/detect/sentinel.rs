//! Files that a program of the host creates when a reboot is required. `/run` is empty after a reboot.
//!
//! The file itself is the signal. If it is there but its reasons cannot be read, a reboot is required for the reason that
//! is known, the file's name, and the detector is reported as failing beside it.
//!
//! bootc creates Debian's file too, also for a deployment that it locked: then a reboot would change nothing, and the file is
//! no signal.

use std::io;
use std::path::{Path, PathBuf};

use lockkeeper_channel::watch::Watched;
use serde::Deserialize;

use super::detector::{BootSpan, Detector, Finding, Look, Scope, Seen};
use super::files::{lines, read_present, written};
use super::findings::MAX_REASONS;
use super::staged::{self, COMPOSEFS, LOCKED, OSTREE, STAGED};
use super::userspace;

/// Debian's sentinel, in the host's `/run`.
pub const DEBIAN: &str = "reboot-required";
/// The packages behind Debian's sentinel.
pub const DEBIAN_PACKAGES: &str = "reboot-required.pkgs";
/// How bootc's text in Debian's sentinel begins.
const BOOTC: &str = "bootc";
/// SUSE's sentinel.
pub const SUSE: &str = "reboot-needed";
/// What SUSE's sentinel says if a soft-reboot is enough.
const SUSE_SOFT_REBOOT: &str = "soft-reboot";
/// The directory and the name of Amazon Linux' sentinel.
pub(super) const AMAZON: (&str, &str) = ("smart-restart", "reboot-hint-marker");
/// Lockkeeper's directory in the host's `/run`.
pub const LOCKKEEPER: &str = "lockkeeper";
/// The directory in it where any program may require a reboot.
pub const DROP_DIRECTORY: &str = "reboot-required.d";

/// One sentinel file.
#[derive(Debug)]
pub(super) struct Sentinel {
    name: String,
    /// The host's `/run`, which exists.
    run: PathBuf,
    /// The file, below it.
    file: PathBuf,
    reasons: Reasons,
}

/// Where a sentinel's reasons are.
#[derive(Clone, Copy, Debug)]
enum Reasons {
    /// In this file beside it, one in a line; or it is bootc's text.
    Beside(&'static str),
    /// Its first word.
    FirstWord,
    /// Nowhere: its name is the reason.
    Name,
}

impl Sentinel {
    /// Debian's file with its list of packages.
    pub(super) fn debian(run: &Path) -> Self {
        Self::new("Debian sentinel", run, DEBIAN, Reasons::Beside(DEBIAN_PACKAGES))
    }

    /// SUSE's file, whose first word is how much of a reboot.
    pub(super) fn suse(run: &Path) -> Self {
        Self::new("SUSE sentinel", run, SUSE, Reasons::FirstWord)
    }

    /// The file of Amazon Linux 2023's smart-restart.
    pub(super) fn amazon(run: &Path) -> Self {
        let file = Path::new(AMAZON.0).join(AMAZON.1);
        Self::new("Amazon Linux sentinel", run, file, Reasons::Name)
    }

    /// A file that the administrator names, below the host's `/run`.
    pub(super) fn named(run: &Path, file: &Path) -> Self {
        let name = format!("sentinel {}", file.display());
        Self::new(&name, run, file, Reasons::Name)
    }

    fn new(name: &str, run: &Path, file: impl Into<PathBuf>, reasons: Reasons) -> Self {
        Self {
            name: name.to_owned(),
            run: run.to_owned(),
            file: file.into(),
            reasons,
        }
    }

    fn find(&self) -> io::Result<Option<Finding>> {
        let path = self.run.join(&self.file);
        let Some(since) = written(&path)? else {
            return Ok(None);
        };
        let signal = self.file.display().to_string();
        let (file, reasons, scope) = match self.reasons {
            Reasons::Beside(list) => match bootc_text(&path) {
                Some(_) if staged::is_locked(&self.run) => return Ok(None),
                Some(text) => (signal.clone(), Ok(vec![text]), Scope::Host),
                None => {
                    let read = read_present(&path.with_file_name(list));
                    let reasons = read.map_or(Ok(Vec::new()), |bytes| bytes.map(|bytes| lines(&bytes)));
                    let listed = written(&path.with_file_name(list)).ok().flatten();
                    let packages = reasons.iter().flatten().map(|line| line.trim());
                    let packages = packages.filter(|line| !line.is_empty());
                    let scope = userspace::scope(packages, listed.map_or(since, |listed| listed.max(since)));
                    (list.to_owned(), reasons, scope)
                }
            },
            Reasons::FirstWord => {
                let Some(read) = read_present(&path) else {
                    return Ok(None);
                };
                let word = read.map(|bytes| first_word(&bytes));
                let scope = match &word {
                    Ok(word) if word == SUSE_SOFT_REBOOT => Scope::Userspace { latest: since },
                    Ok(_) | Err(_) => Scope::Host,
                };
                let reasons = word.map(|word| vec![format!("{signal}: {word}")]);
                (signal.clone(), reasons, scope)
            }
            Reasons::Name => (signal.clone(), Ok(Vec::new()), Scope::Host),
        };
        Ok(Some(Finding {
            since,
            signal,
            file,
            reasons,
            scope,
        }))
    }
}

impl Detector for Sentinel {
    fn name(&self) -> &str {
        &self.name
    }

    /// Each directory on the way to the file, because one that does not exist yet cannot be watched.
    fn watched(&self) -> Vec<Watched> {
        let mut directory = self.run.clone();
        let mut watched = Vec::new();
        for part in &self.file {
            let name = part.to_string_lossy().into_owned();
            let mut names = vec![name.as_str()];
            if let Reasons::Beside(list) = self.reasons {
                names.push(list);
            }
            watched.push(Watched::new(&directory, &names));
            directory.push(part);
        }
        if let Reasons::Beside(_) = self.reasons {
            watched.push(Watched::new(&self.run, &[OSTREE, COMPOSEFS]));
            watched.push(Watched::new(self.run.join(OSTREE), &[STAGED, LOCKED]));
            watched.push(Watched::new(self.run.join(COMPOSEFS), &[STAGED]));
        }
        watched
    }

    fn look(&self, _: BootSpan) -> Look {
        Look::one(&self.name, self.find())
    }
}

/// The first line of a sentinel that bootc created; `None` for that of another program.
fn bootc_text(path: &Path) -> Option<String> {
    let bytes = read_present(path)?.ok()?;
    lines(&bytes).into_iter().next().filter(|line| line.starts_with(BOOTC))
}

/// How much of a reboot SUSE's file asks for. A full reboot also satisfies the weaker kinds (`kexec`, `soft-reboot`).
fn first_word(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_whitespace().next().unwrap_or("reboot").to_owned()
}

/// The directory where any program may drop a file: empty, lines of reasons, or `{"reasons": [..]}`.
#[derive(Debug)]
pub(super) struct DropDirectory {
    run: PathBuf,
}

impl DropDirectory {
    pub(super) fn new(run: &Path) -> Self {
        Self { run: run.to_owned() }
    }

    fn directory(&self) -> PathBuf {
        self.run.join(LOCKKEEPER).join(DROP_DIRECTORY)
    }

    fn find(&self) -> io::Result<Vec<Seen>> {
        let entries = match std::fs::read_dir(self.directory()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut seen = Vec::new();
        for entry in entries.take(MAX_REASONS) {
            let entry = entry?;
            let source = entry.file_name().to_string_lossy().into_owned();
            // A dot file is one that is still being written.
            if !source.starts_with('.') {
                let finding = dropped(&entry.path(), &source);
                seen.push(Seen { source, finding });
            }
        }
        seen.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(seen)
    }
}

impl Detector for DropDirectory {
    fn name(&self) -> &'static str {
        "drop directory"
    }

    fn watched(&self) -> Vec<Watched> {
        vec![
            Watched::new(&self.run, &[LOCKKEEPER]),
            Watched::new(self.run.join(LOCKKEEPER), &[DROP_DIRECTORY]),
            Watched::new(self.directory(), &[]),
        ]
    }

    fn look(&self, _: BootSpan) -> Look {
        match self.find() {
            Ok(seen) => Look { seen, look_again: None },
            Err(error) => Look::one(DROP_DIRECTORY, Err(error)),
        }
    }
}

fn dropped(path: &Path, name: &str) -> io::Result<Option<Finding>> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default)]
        reasons: Vec<String>,
    }
    let Some(since) = written(path)? else {
        return Ok(None);
    };
    let reasons = |bytes: Vec<u8>| match serde_json::from_slice::<Listed>(&bytes) {
        Ok(Listed { reasons }) => reasons,
        Err(_) => lines(&bytes),
    };
    Ok(read_present(path).map(|bytes| Finding {
        since,
        signal: name.to_owned(),
        file: name.to_owned(),
        reasons: bytes.map(reasons),
        scope: Scope::Host,
    }))
}
