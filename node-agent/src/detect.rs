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
//! A detector that cannot be read is reported as failing.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lockkeeper_crds::RebootRequired;
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::time::whole_seconds;
use serde::Deserialize;

use crate::channel::read_bounded;
use crate::text::{NAME, fit};

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

/// Runs all detectors.
pub fn detect(run: &Path) -> RebootRequired {
    let mut findings = Findings::default();
    match std::fs::metadata(run) {
        Ok(metadata) if metadata.is_dir() => {
            findings.add("Debian sentinel", debian(run));
            findings.add("SUSE sentinel", suse(run));
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
    since: DateTime<Utc>,
    reasons: Vec<String>,
}

#[derive(Default)]
struct Findings {
    since: Option<DateTime<Utc>>,
    sources: Vec<String>,
    reasons: BTreeSet<String>,
    failing: BTreeSet<String>,
}

impl Findings {
    fn add(&mut self, source: &str, finding: io::Result<Option<Finding>>) {
        match finding {
            Ok(None) => {}
            Ok(Some(finding)) => {
                self.since = Some(self.since.map_or(finding.since, |since| since.min(finding.since)));
                self.sources.push(source.to_owned());
                self.reasons.extend(
                    finding
                        .reasons
                        .iter()
                        .map(|reason| fit(reason, NAME))
                        .filter(|reason| !reason.is_empty()),
                );
            }
            Err(error) => self.fail(&format!("{source} cannot be read: {error}")),
        }
    }

    fn add_all(&mut self, found: io::Result<Vec<(String, io::Result<Option<Finding>>)>>) {
        match found {
            Ok(found) => {
                for (source, finding) in found {
                    self.add(&source, finding);
                }
            }
            Err(error) => self.fail(&format!("{DROP_DIRECTORY} cannot be read: {error}")),
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
    let Some(since) = modified(&run.join(DEBIAN))? else {
        return Ok(None);
    };
    let packages = read_bounded(&run.join(DEBIAN_PACKAGES))?.map_or_else(Vec::new, |bytes| lines(&bytes));
    Ok(Some(Finding {
        since,
        reasons: reasons_or_name(packages, DEBIAN),
    }))
}

fn suse(run: &Path) -> io::Result<Option<Finding>> {
    let path = run.join(SUSE);
    let Some(since) = modified(&path)? else {
        return Ok(None);
    };
    let text = read_bounded(&path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // A full reboot also satisfies the weaker kinds (`kexec`, `soft-reboot`).
    let word = text.split_whitespace().next().unwrap_or("reboot");
    Ok(Some(Finding {
        since,
        reasons: vec![format!("{SUSE}: {word}")],
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
    let (Some(since), Some(bytes)) = (modified(path)?, read_bounded(path)?) else {
        return Ok(None);
    };
    let reasons = match serde_json::from_slice::<Reasons>(&bytes) {
        Ok(Reasons { reasons }) => reasons,
        Err(_) => lines(&bytes),
    };
    Ok(Some(Finding {
        since,
        reasons: reasons_or_name(reasons, name),
    }))
}

/// When a file was last written; `None` if it does not exist.
fn modified(path: &Path) -> io::Result<Option<DateTime<Utc>>> {
    match std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(time) => Ok(Some(to_chrono(time))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_chrono(time: SystemTime) -> DateTime<Utc> {
    whole_seconds(DateTime::<Utc>::from(time))
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

fn reasons_or_name(reasons: Vec<String>, name: &str) -> Vec<String> {
    if reasons.iter().all(|reason| reason.trim().is_empty()) {
        return vec![name.to_owned()];
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::*;

    /// Each file is written ten seconds after the one before, the first at 1,800,000,000 s.
    fn check(files: &[(&str, &str)], expected: &Expect) {
        let run = tempfile::tempdir().unwrap();
        for (index, (name, text)) in files.iter().enumerate() {
            let path = run.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 10 * index as u64);
            fs::File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        expected.assert_eq(&print(&detect(run.path())));
    }

    fn print(found: &RebootRequired) -> String {
        let reasons: Vec<&str> = found.reasons.iter().map(|Cause(reason)| reason.as_str()).collect();
        let since = found.since.map(|time| time.timestamp() - 1_800_000_000);
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
        let found = detect(run.path());
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
        let healthy = detect(run.path());
        fs::create_dir(run.path().join("reboot-needed")).unwrap();
        let found = detect(run.path());
        assert_eq!((found.required, found.since), (true, healthy.since));
        assert_eq!((found.reasons, found.failing.len()), (healthy.reasons, 1));
    }

    #[test]
    fn the_error_of_a_missing_run_directory_names_the_remedy() {
        let found = detect(Path::new("/nowhere/run"));
        assert!(!found.required);
        assert!(found.failing[0].0.contains("mount the host's /run there"), "{found:?}");
    }

    #[test]
    fn reasons_are_bounded() {
        let packages: Vec<String> = (0..100).map(|number| format!("package-{number:03}")).collect();
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join(DEBIAN), "").unwrap();
        fs::write(run.path().join(DEBIAN_PACKAGES), packages.join("\n")).unwrap();
        let found = detect(run.path());
        assert_eq!(found.reasons.len(), 32);
        assert_eq!(found.reasons[31].0, "package-031");
    }
}
