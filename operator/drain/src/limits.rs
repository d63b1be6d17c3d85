//! Every limit, time-out and pause of a drain, with its reason.

use std::time::Duration;

use chrono::TimeDelta;

/// Requests under way at once: beyond this a real API server answered no faster.
pub(crate) const AT_ONCE: usize = 16;
/// Requests under way at once under one budget: each has to write it, and each conflict costs the server 500 ms.
pub(crate) const AT_ONCE_PER_BUDGET: usize = 8;
/// An eviction without an answer: the API server itself tries for up to 10 s to write a contended budget.
pub(crate) const EVICTION_TIME_OUT: Duration = Duration::from_secs(15);
/// A list that hangs is a list that failed.
pub(crate) const LIST_TIME_OUT: Duration = Duration::from_secs(15);

/// From the beginning of a stage that goes past budgets to its first deletion: whoever began it says so first.
pub(crate) const ANNOUNCED_FOR: TimeDelta = TimeDelta::seconds(2);

/// A node that cannot be emptied is asked about again and again; what samples do not show is seen by then.
pub(crate) const ALL_ASKED_AGAIN: Duration = Duration::from_mins(10);

/// Pods were seen to land on a node up to 2.0 s after its cordon.
pub(crate) const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(3);
/// Between two fresh lists where the first did not show what the watch shows: the watch is a moment behind.
pub(crate) const LIST_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(1);
/// Between two tries to look up labels of namespaces or volumes of claims: the drain stands still without, so soon.
pub(crate) const READ_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(5);
/// A drain whose first list is no older than this after the cordon has seen every pod that has to leave; one that goes
/// on later may have missed some that are gone.
pub(crate) const FROM_THE_START: TimeDelta = TimeDelta::seconds(10);
/// A kubelet kills at the end of the grace and reports a moment later; what is there after this is stuck.
pub(crate) const STUCK_AFTER: TimeDelta = TimeDelta::seconds(10);
/// A granted pod that is not seen shutting down by then is asked again, which changes nothing if it is.
pub(crate) const GRANT_SEEN_WITHIN: TimeDelta = TimeDelta::seconds(30);
/// A watch that failed and then works again says nothing until something changes.
pub(crate) const TROUBLE_SHOWN_FOR: TimeDelta = TimeDelta::seconds(20);

/// The fallback where no event can announce that a refusal is over; half of it is jitter, so that many nodes do not
/// ask at once.
pub(crate) const SLOW: TimeDelta = TimeDelta::seconds(15);
/// A namespace that is being deleted takes its pods with it.
pub(crate) const NAMESPACE_GOES: TimeDelta = TimeDelta::seconds(60);
/// A failure that says nothing about the pod: long enough in the end for a struggling API server, short enough to
/// notice that it is back.
pub(crate) const FAILURE: Pauses = Pauses {
    first: TimeDelta::milliseconds(200),
    longest: TimeDelta::seconds(10),
};
/// A missing permission: an API server that has just started lacks its roles for a moment; else a person repairs it.
pub(crate) const FORBIDDEN: Pauses = Pauses {
    first: TimeDelta::seconds(5),
    longest: TimeDelta::seconds(60),
};

/// Pauses that double from failure to failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    pub(crate) first: TimeDelta,
    pub(crate) longest: TimeDelta,
}
