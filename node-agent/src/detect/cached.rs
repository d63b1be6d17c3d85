//! Files whose content is expensive to read: it is read again only after one of them changed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// A file that was changed less than this ago may change again without a new time: file systems count in steps.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// What was read from some files, until one of them changes.
#[derive(Debug)]
pub(super) struct Cached<T> {
    files: Vec<PathBuf>,
    last: Mutex<Option<(Vec<Stamp>, T)>>,
}

/// What differs once a file was written: its device, number, size, and when content and number were changed. `None` for a
/// file that does not exist.
type Stamp = Option<[i64; 7]>;

impl<T: Clone> Cached<T> {
    /// Nothing is read yet; these files tell when to read again.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            last: Mutex::new(None),
        }
    }

    /// What was read last, if no file has changed since, else what `read` reads. An error is not kept.
    pub(super) fn get(&self, now: DateTime<Utc>, read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        // Before the read: what changes during it is read again.
        let present = self
            .files
            .iter()
            .map(|file| stamp(file))
            .collect::<io::Result<Vec<_>>>()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = last.as_ref().filter(|(before, _)| *before == present) {
            return Ok(value.clone());
        }
        let value = read()?;
        let is_stable = present.iter().flatten().all(|stamp| is_stable(stamp, now));
        *last = is_stable.then(|| (present, value.clone()));
        Ok(value)
    }
}

fn stamp(file: &Path) -> io::Result<Stamp> {
    match std::fs::metadata(file) {
        Ok(metadata) => Ok(Some(numbers(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn numbers(metadata: &Metadata) -> [i64; 7] {
    [
        metadata.dev() as i64,
        metadata.ino() as i64,
        metadata.size() as i64,
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

/// Whether a file was changed so long ago that another change would show. A time in the future tells nothing.
fn is_stable(stamp: &[i64; 7], now: DateTime<Utc>) -> bool {
    let changed = DateTime::from_timestamp(stamp[5], 0);
    let age = changed.and_then(|changed| (now - changed).to_std().ok());
    age.is_some_and(|age| age >= STABLE_AFTER)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use chrono::TimeDelta;

    use super::*;

    /// A file in a directory, what is read of it, and how often.
    struct Bench {
        directory: tempfile::TempDir,
        cached: Cached<String>,
        reads: Cell<usize>,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let files = ["database", "log"].map(|name| directory.path().join(name));
            Self {
                directory,
                cached: Cached::new(files.into()),
                reads: Cell::new(0),
            }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        /// What is read so long after the present time.
        fn get(&self, later: TimeDelta) -> io::Result<String> {
            self.cached.get(Utc::now() + later, || {
                self.reads.set(self.reads.get() + 1);
                fs::read_to_string(self.directory.path().join("database"))
            })
        }

        /// How often the file is read for two looks a minute from now.
        fn reads_for_two_looks(&self) -> usize {
            let before = self.reads.get();
            let both = [1, 1].map(|minutes| self.get(TimeDelta::minutes(minutes)).unwrap());
            assert_eq!(both[0], both[1]);
            self.reads.get() - before
        }
    }

    #[test]
    fn a_file_that_does_not_change_is_read_once() {
        let bench = Bench::new();
        bench.write("database", "one");
        assert_eq!(bench.reads_for_two_looks(), 1);
        assert_eq!(bench.reads_for_two_looks(), 0);
    }

    #[test]
    fn a_changed_file_and_one_that_comes_or_goes_are_read_again_once() {
        let bench = Bench::new();
        bench.write("database", "one");
        bench.reads_for_two_looks();
        bench.write("database", "two!");
        assert_eq!(bench.reads_for_two_looks(), 1);
        assert_eq!(bench.get(TimeDelta::minutes(1)).unwrap(), "two!");
        bench.write("log", "");
        assert_eq!(bench.reads_for_two_looks(), 1);
        fs::remove_file(bench.directory.path().join("log")).unwrap();
        assert_eq!(bench.reads_for_two_looks(), 1);
    }

    #[test]
    fn a_file_of_the_same_size_and_time_in_its_place_is_read() {
        let bench = Bench::new();
        bench.write("database", "one");
        bench.reads_for_two_looks();
        let [old, new] = ["database", "new"].map(|name| bench.directory.path().join(name));
        bench.write("new", "two");
        let file = fs::File::options().append(true).open(&new).unwrap();
        file.set_modified(fs::metadata(&old).unwrap().modified().unwrap())
            .unwrap();
        fs::rename(new, old).unwrap();
        assert_eq!(bench.get(TimeDelta::minutes(1)).unwrap(), "two");
    }

    #[test]
    fn a_file_that_was_just_changed_or_is_ahead_of_the_clock_is_read_each_time() {
        let bench = Bench::new();
        bench.write("database", "one");
        for age in [TimeDelta::zero(), TimeDelta::hours(-1), TimeDelta::zero()] {
            bench.get(age).unwrap();
        }
        assert_eq!(bench.reads.get(), 3);
    }

    #[test]
    fn an_error_is_not_kept() {
        let bench = Bench::new();
        assert!(bench.get(TimeDelta::minutes(1)).is_err());
        assert!(bench.get(TimeDelta::minutes(1)).is_err());
        assert_eq!(bench.reads.get(), 2);
    }
}
