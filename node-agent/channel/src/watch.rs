//! File notification: which directories to watch, for which names.
//!
//! Directories are watched, not files: a sentinel that does not exist yet cannot be watched. A directory that does not
//! exist yet is found through its parent once [`DirectoryWatch::arm`] is called again.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use futures::StreamExt;
use inotify::{EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

/// A directory and the names in it that matter.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The directory; it may be absent.
    pub directory: PathBuf,
    /// The names; empty for all but dot files.
    pub names: Vec<String>,
}

impl Watched {
    /// Watches these names in a directory; none for all but dot files.
    pub fn new(directory: impl Into<PathBuf>, names: &[&str]) -> Self {
        Self {
            directory: directory.into(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }
}

/// Notices changes in some directories.
#[derive(Debug)]
pub struct DirectoryWatch {
    watched: Vec<Watched>,
    armed: HashMap<WatchDescriptor, usize>,
    arms: Watches,
    events: EventStream<Vec<u8>>,
}

impl DirectoryWatch {
    /// Starts to watch the directories that exist.
    pub fn new(watched: Vec<Watched>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let arms = inotify.watches();
        let events = inotify.into_event_stream(vec![0; 4096])?;
        let mut watch = Self {
            watched,
            armed: HashMap::new(),
            arms,
            events,
        };
        watch.arm();
        Ok(watch)
    }

    /// Watches directories that were created since; call it before reading them, so that no change is missed.
    pub fn arm(&mut self) {
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::ONLYDIR;
        for (index, watched) in self.watched.iter().enumerate() {
            // The kernel gives the same descriptor for the same directory, so that arming twice is harmless. What is
            // absent or unreadable shows where the files are read.
            match self.arms.add(&watched.directory, mask) {
                Ok(descriptor) => {
                    self.armed.insert(descriptor, index);
                }
                Err(error) => tracing::trace!(directory = %watched.directory.display(), %error, "not watched"),
            }
        }
    }

    /// Returns once a watched name may have changed, with the index of the directory if it is known; may be dropped at
    /// any time.
    pub async fn changed(&mut self) -> io::Result<Option<usize>> {
        loop {
            match self.events.next().await {
                Some(Ok(event)) if self.matters(&event) => return Ok(self.armed.get(&event.wd).copied()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::other("file notification ended")),
            }
        }
    }

    fn matters(&self, event: &EventOwned) -> bool {
        // An event without a name concerns the directory itself, or reports that the kernel dropped events.
        let Some(name) = event.name.as_ref().and_then(|name| name.to_str()) else {
            return true;
        };
        let names = self
            .armed
            .get(&event.wd)
            .map_or(&[][..], |index| &self.watched[*index].names);
        if names.is_empty() {
            return !name.starts_with('.');
        }
        names.iter().any(|watched| watched == name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Long enough for a busy machine; only a broken watch waits for it.
    const LONG: Duration = Duration::from_secs(20);

    async fn noticed(watch: &mut DirectoryWatch) {
        timeout(LONG, watch.changed()).await.expect("noticed in time").unwrap();
    }

    /// Whether nothing is there to be noticed: the kernel queues an event before the call that made it returns.
    async fn quiet(watch: &mut DirectoryWatch) -> bool {
        futures::poll!(Box::pin(watch.changed())).is_pending()
    }

    #[tokio::test]
    async fn a_new_file_and_its_removal_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = DirectoryWatch::new(vec![Watched::new(directory.path(), &["sentinel"])]).unwrap();
        fs::write(directory.path().join("sentinel"), "").unwrap();
        noticed(&mut watch).await;
        while !quiet(&mut watch).await {}
        fs::remove_file(directory.path().join("sentinel")).unwrap();
        noticed(&mut watch).await;
    }

    #[tokio::test]
    async fn other_files_are_not_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = DirectoryWatch::new(vec![Watched::new(directory.path(), &["sentinel"])]).unwrap();
        fs::write(directory.path().join("utmp"), "").unwrap();
        assert!(quiet(&mut watch).await);
        fs::write(directory.path().join("sentinel"), "").unwrap();
        noticed(&mut watch).await;
    }

    #[tokio::test]
    async fn a_directory_created_later_is_watched_after_arming() {
        let directory = tempfile::tempdir().unwrap();
        let child = directory.path().join("child");
        let watched = vec![Watched::new(directory.path(), &["child"]), Watched::new(&child, &[])];
        let mut watch = DirectoryWatch::new(watched).unwrap();
        fs::create_dir(&child).unwrap();
        noticed(&mut watch).await;
        watch.arm();
        fs::write(child.join(".half"), "").unwrap();
        assert!(quiet(&mut watch).await);
        fs::write(child.join("whole"), "").unwrap();
        noticed(&mut watch).await;
    }
}
