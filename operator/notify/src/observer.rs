//! What becomes of notifications, for who counts it.

use std::sync::Arc;

/// What became of an Event for a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The receiver accepted it.
    Sent,
    /// The receiver refused it, or did not accept it in time.
    Failed,
    /// It came while the queue was full.
    Dropped,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Dropped];

    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Is told what becomes of notifications.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// So many Events had this outcome at this receiver.
    fn count(&self, receiver: &str, outcome: Outcome, events: u64);
    /// The file was read: its receivers, and how many errors it has.
    fn configured(&self, receivers: &[&str], errors: usize);
}

pub(crate) type SharedObserver = Arc<dyn Observer>;
