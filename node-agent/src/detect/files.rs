//! Reading files that others write: bounded, without following links, with errors that name the remedy.

use std::fs::FileType;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lockkeeper_channel::files::{not_a_file, read_bounded};
use lockkeeper_crds::time::whole_seconds;
use rustix::io::Errno;

/// When a file was written; `None` if it does not exist, an error if it is something else than a file.
///
/// A symbolic link counts as a file: it is there, although its target, a path of the host, is not read.
pub(super) fn written(path: &Path) -> io::Result<Option<DateTime<Utc>>> {
    let is_signal = |kind: FileType| kind.is_file() || kind.is_symlink();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if is_signal(metadata.file_type()) => metadata.modified().map(|time| Some(to_chrono(time))),
        Ok(_) => Err(not_a_file()),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a path does not exist, or a directory on the way to it does not.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What a file contains; `None` if it does not exist.
pub(super) fn read_present(path: &Path) -> Option<io::Result<Vec<u8>>> {
    read_bounded(path).transpose()
}

/// The lines of a text; bytes that are no UTF-8 are replaced.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// The error with its remedy, if the remedy is known.
pub(super) fn explain(error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return "a symbolic link is not followed; replace it with the file".to_owned();
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error}; make it readable for all users (chmod a+rX)"),
        _ => error.to_string(),
    }
}

/// The time of a file.
pub(super) fn to_chrono(time: SystemTime) -> DateTime<Utc> {
    whole_seconds(DateTime::<Utc>::from(time))
}
