//! The detectors: whether the host requires a reboot, since when and why. They do not decide whether to reboot.
//!
//! All of them read one directory, the host's `/run`, which a reboot empties:
//!
//! | file | written by |
//! |---|---|
//! | `reboot-required`, `reboot-required.pkgs` | Debian, Ubuntu, Flatcar |
//! | `reboot-needed` | SUSE; the first word is how much of a reboot |
//! | `lockkeeper/reboot-required.d/<source>` | any program: empty, lines of reasons, or `{"reasons": [..]}` |
//!
//! The file itself is the signal. If it is there but its reasons cannot be read, a reboot is required for the reason that
//! is known, the file's name, and the detector is reported as failing beside it.

use std::collections::BTreeSet;
use std::fs::FileType;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lockkeeper_crds::RebootRequired;
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::time::whole_seconds;
use rustix::io::Errno;
use serde::Deserialize;

use lockkeeper_channel::files::{not_a_file, read_bounded};
use lockkeeper_channel::text::{NAME, fit};

/// Debian's sentinel, in the host's `/run`.
pub const DEBIAN: &str = "reboot-required";
/// The packages behind Debian's sentinel.
pub const DEBIAN_PACKAGES: &str = "reboot-required.pkgs";
/// SUSE's sentinel.
pub const SUSE: &str = "reboot-needed";
/// Lockkeeper's directory in the host's `/run`.
pub const LOCKKEEPER: &str = "lockkeeper";
/// The directory in it where any program may require a reboot.
pub const DROP_DIRECTORY: &str = "reboot-required.d";

/// The largest number of reasons that the custom resource accepts.
const MAX_REASONS: usize = 32;
/// The largest number of failing detectors that the custom resource accepts.
const MAX_FAILING: usize = 16;
/// The longest list of detectors that the custom resource accepts.
const MAX_SOURCE_LENGTH: usize = 128;

/// When the present boot began, if that is known, and the present time. A file that was written outside of them was dated by
/// a wrong clock, or by hand.
#[derive(Clone, Copy, Debug)]
pub struct BootSpan {
    /// When the host booted.
    pub began: Option<DateTime<Utc>>,
    /// The present time.
    pub now: DateTime<Utc>,
}

impl BootSpan {
    /// The time of a file, or the present time if the file's time is not one of this boot.
    fn credible(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let credible = self.began.is_some_and(|began| began <= time) && time <= self.now;
        whole_seconds(if credible { time } else { self.now })
    }
}

/// Runs all detectors.
pub fn detect(run: &Path, boot: BootSpan) -> RebootRequired {
    let mut findings = Findings::new(boot);
    match std::fs::metadata(run) {
        Ok(metadata) if metadata.is_dir() => {
            findings.add("Debian sentinel", DEBIAN, debian(run));
            findings.add("SUSE sentinel", SUSE, suse(run));
            findings.add_all(drop_directory(&run.join(LOCKKEEPER).join(DROP_DIRECTORY)));
        }
        Ok(_) => findings.fail(&format!(
            "{} is not a directory: mount the host's /run there",
            run.display()
        )),
        Err(error) => findings.fail(&format!("{}: {error}: mount the host's /run there", run.display())),
    }
    findings.into_report()
}

/// A detector that requires a reboot.
struct Finding {
    written: DateTime<Utc>,
    /// The name of the file that has the reasons.
    file: String,
    reasons: io::Result<Vec<String>>,
}

struct Findings {
    boot: BootSpan,
    since: Option<DateTime<Utc>>,
    sources: Vec<String>,
    reasons: BTreeSet<String>,
    failing: BTreeSet<String>,
}

impl Findings {
    fn new(boot: BootSpan) -> Self {
        Self {
            boot,
            since: None,
            sources: Vec::new(),
            reasons: BTreeSet::new(),
            failing: BTreeSet::new(),
        }
    }

    fn add(&mut self, source: &str, signal: &str, finding: io::Result<Option<Finding>>) {
        match finding {
            Ok(None) => {}
            Ok(Some(finding)) => self.require(source, signal, finding),
            Err(error) => self.fail(&format!("{source} cannot be read: {}", explain(&error))),
        }
    }

    /// Adds a detector that requires a reboot; `signal` is the reason if it gives no other.
    fn require(&mut self, source: &str, signal: &str, finding: Finding) {
        let written = self.boot.credible(finding.written);
        self.since = Some(self.since.map_or(written, |since| since.min(written)));
        self.sources.push(source.to_owned());
        let reasons = finding.reasons.unwrap_or_else(|error| {
            let (file, error) = (finding.file, explain(&error));
            self.fail(&format!(
                "{source} requires a reboot, but {file} cannot be read: {error}"
            ));
            Vec::new()
        });
        let reasons = reasons.iter().map(|reason| fit(reason, NAME));
        let mut reasons: Vec<String> = reasons.filter(|reason| !reason.is_empty()).collect();
        if reasons.is_empty() {
            reasons.push(fit(signal, NAME));
        }
        self.reasons.extend(reasons);
    }

    fn add_all(&mut self, found: io::Result<Vec<(String, io::Result<Option<Finding>>)>>) {
        match found {
            Ok(found) => {
                for (source, finding) in found {
                    self.add(&source, &source, finding);
                }
            }
            Err(error) => self.fail(&format!("{DROP_DIRECTORY} cannot be read: {}", explain(&error))),
        }
    }

    fn fail(&mut self, what: &str) {
        self.failing.insert(fit(what, NAME));
    }

    fn into_report(self) -> RebootRequired {
        RebootRequired {
            required: self.since.is_some(),
            since: self.since,
            reasons: self.reasons.into_iter().take(MAX_REASONS).map(Cause).collect(),
            source: fit(&self.sources.join(", "), MAX_SOURCE_LENGTH),
            failing: self.failing.into_iter().take(MAX_FAILING).map(Cause).collect(),
        }
    }
}

fn debian(run: &Path) -> io::Result<Option<Finding>> {
    let Some(written) = written(&run.join(DEBIAN))? else {
        return Ok(None);
    };
    Ok(Some(Finding {
        written,
        file: DEBIAN_PACKAGES.to_owned(),
        reasons: read_present(&run.join(DEBIAN_PACKAGES))
            .map_or(Ok(Vec::new()), |bytes| bytes.map(|bytes| lines(&bytes))),
    }))
}

fn suse(run: &Path) -> io::Result<Option<Finding>> {
    let path = run.join(SUSE);
    let Some(written) = written(&path)? else {
        return Ok(None);
    };
    let kind = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes);
        // A full reboot also satisfies the weaker kinds (`kexec`, `soft-reboot`).
        let word = text.split_whitespace().next().unwrap_or("reboot");
        vec![format!("{SUSE}: {word}")]
    };
    Ok(read_present(&path).map(|bytes| Finding {
        written,
        file: SUSE.to_owned(),
        reasons: bytes.map(kind),
    }))
}

fn drop_directory(directory: &Path) -> io::Result<Vec<(String, io::Result<Option<Finding>>)>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.take(MAX_REASONS) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A dot file is one that is still being written.
        if !name.starts_with('.') {
            found.push((name.clone(), drop_file(&entry.path(), &name)));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn drop_file(path: &Path, name: &str) -> io::Result<Option<Finding>> {
    #[derive(Deserialize)]
    struct Reasons {
        #[serde(default)]
        reasons: Vec<String>,
    }
    let Some(written) = written(path)? else {
        return Ok(None);
    };
    let reasons = |bytes: Vec<u8>| match serde_json::from_slice::<Reasons>(&bytes) {
        Ok(Reasons { reasons }) => reasons,
        Err(_) => lines(&bytes),
    };
    Ok(read_present(path).map(|bytes| Finding {
        written,
        file: name.to_owned(),
        reasons: bytes.map(reasons),
    }))
}

/// When a file was written; `None` if it does not exist, an error if it is something else than a file.
///
/// A symbolic link counts as a file: it is there, although its target, a path of the host, is not read.
fn written(path: &Path) -> io::Result<Option<DateTime<Utc>>> {
    let is_signal = |kind: FileType| kind.is_file() || kind.is_symlink();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if is_signal(metadata.file_type()) => metadata.modified().map(|time| Some(to_chrono(time))),
        Ok(_) => Err(not_a_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a file contains; `None` if it does not exist.
fn read_present(path: &Path) -> Option<io::Result<Vec<u8>>> {
    read_bounded(path).transpose()
}

/// The error with its remedy, if the remedy is known.
fn explain(error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return "a symbolic link is not followed; replace it with the file".to_owned();
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error}; make it readable for all users (chmod a+rX)"),
        _ => error.to_string(),
    }
}

fn to_chrono(time: SystemTime) -> DateTime<Utc> {
    whole_seconds(DateTime::<Utc>::from(time))
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
