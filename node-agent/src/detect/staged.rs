//! Deployments that wait for the next boot: the files that ostree and bootc write for them in the host's `/run`.
//!
//! A staged deployment may be locked: then it is downloaded, and the shutdown does not put it in place. A reboot would change
//! nothing, so a locked one requires none.

use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::files::{read_present, written};
use super::gvariant::Dictionary;

/// The directory of ostree in the host's `/run`.
pub(super) const OSTREE: &str = "ostree";
/// The directory of bootc's other way to store deployments.
pub(super) const COMPOSEFS: &str = "composefs";
/// The deployment that waits, in either directory.
pub(super) const STAGED: &str = "staged-deployment";
/// ostree before 2023.8 locks the deployment by this file; later versions write it as well.
pub(super) const LOCKED: &str = "staged-deployment-locked";
/// So many digits of a checksum are enough to tell deployments apart.
const DIGITS: usize = 12;

/// A deployment that waits for the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staged {
    /// Since when.
    pub(super) since: DateTime<Utc>,
    /// The name of the system and the begin of the checksum.
    pub(super) name: String,
    /// Whether the shutdown leaves it where it is.
    pub(super) is_locked: bool,
}

/// The deployment that ostree staged; `None` if none waits.
pub(super) fn by_ostree(run: &Path) -> io::Result<Option<Staged>> {
    let directory = run.join(OSTREE);
    let file = directory.join(STAGED);
    let (Some(since), Some(bytes)) = (written(&file)?, read_present(&file)) else {
        return Ok(None);
    };
    let (name, is_locked) = parse(&bytes?).ok_or_else(broken)?;
    Ok(Some(Staged {
        since,
        name,
        is_locked: is_locked || written(&directory.join(LOCKED))?.is_some(),
    }))
}

/// Whether the deployment that bootc staged, in either way, is locked; not if none is staged, or that cannot be read.
pub(super) fn is_locked(run: &Path) -> bool {
    let by_ostree = by_ostree(run).ok().flatten().is_some_and(|staged| staged.is_locked);
    by_ostree || is_composefs_locked(run)
}

fn is_composefs_locked(run: &Path) -> bool {
    #[derive(Deserialize)]
    struct Composefs {
        finalization_locked: bool,
    }
    let bytes = read_present(&run.join(COMPOSEFS).join(STAGED));
    let staged = bytes.and_then(|bytes| serde_json::from_slice::<Composefs>(&bytes.ok()?).ok());
    staged.is_some_and(|staged| staged.finalization_locked)
}

/// The name of the deployment, and whether it is locked, of a file that ostree wrote.
fn parse(bytes: &[u8]) -> Option<(String, bool)> {
    let file = Dictionary::parse(bytes)?;
    let target = file.get("target")?.dictionary()?;
    let (system, name) = (target.get("osname")?.text()?, target.get("name")?.text()?);
    let (checksum, _serial) = name.split_once('.')?;
    let digits = checksum.get(..DIGITS)?;
    if !checksum.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let is_locked = match file.get("locked") {
        None => false,
        Some(value) => value.truth()?,
    };
    Some((format!("{system} {digits}"), is_locked))
}

fn broken() -> io::Error {
    let text = "it is not what ostree writes; run ostree admin status on the host";
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lockkeeper_fuzz::fuzz;

    use super::*;

    const NAME: &str = "fedora-coreos 1f3a227ae55d";

    /// Files that `GLib` wrote as ostree does: `tests/data/ostree/make.py`.
    fn data(name: &str) -> Vec<u8> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ostree");
        fs::read(directory.join(name)).unwrap()
    }

    #[test]
    fn a_staged_deployment_has_a_name_and_may_be_locked() {
        for (file, is_locked) in [("staged", false), ("locked", true), ("unlocked", false)] {
            assert_eq!(parse(&data(file)), Some((NAME.to_owned(), is_locked)), "{file}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_no_staged_deployment() {
        let whole = data("staged");
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "the first {length} bytes");
        }
    }

    mod fuzz {
        use super::*;

        #[test]
        fn whatever_the_file_contains_it_names_a_checksum_or_is_refused() {
            fuzz("staged-deployment", |input| {
                if let Some((name, _)) = parse(input) {
                    let (_, digits) = name.rsplit_once(' ').unwrap();
                    assert!(digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                }
            });
        }
    }
}
