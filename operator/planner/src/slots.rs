//! The slots: which nodes hold them, and whether one more node may have one.
//!
//! [`SlotLedger`] is the one way to count them: all holders, those that were admitted before a node, and those together with
//! the nodes whose preflight is pending. The limits are one ordered list, as the checks of eligibility are.

mod ledger;
mod limits;
mod names;

pub(crate) use ledger::SlotLedger;
pub(crate) use limits::{check_all_fit, check_slot};
