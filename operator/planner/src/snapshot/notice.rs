//! The advance notice of a drain, as its Node shows it.

use crate::Instant;

/// The condition of a Node that gives notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoticeCondition {
    /// The Node has none.
    #[default]
    Absent,
    /// The operator has set it.
    Ours(GivenNotice),
    /// Another client has set it: it is left alone.
    Foreign {
        /// The reason that the other client has given.
        reason: String,
    },
}

/// A notice that the operator has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenNotice {
    /// The id of the attempt for which it was given; empty if it cannot be read.
    pub id: String,
    /// When it was given.
    pub given: Instant,
}

impl NoticeCondition {
    /// The operator's own notice, whatever it is for.
    pub fn ours(&self) -> Option<&GivenNotice> {
        match self {
            Self::Ours(notice) => Some(notice),
            Self::Absent | Self::Foreign { .. } => None,
        }
    }
}
