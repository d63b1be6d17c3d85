//! The hold of a Node.

use chrono::{DateTime, Utc};
use lockkeeper_crds::names;
use lockkeeper_planner as planner;

use crate::convert::word;
use crate::slim::{self, annotation};

/// A hold whose end cannot be read has none: unknown means held.
pub(crate) fn hold(node: &slim::Node) -> Option<planner::Hold> {
    let reason = annotation(node, names::HOLD)?;
    let text = annotation(node, names::HOLD_UNTIL);
    let until = text.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    Some(planner::Hold {
        reason: word(reason),
        until: until.map(|time| time.with_timezone(&Utc)),
        invalid_until: text.filter(|_| until.is_none()).map(word),
    })
}
