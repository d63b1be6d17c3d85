//! Every limit, timeout and delay of a drain, with its reason.

use std::time::Duration;

use chrono::TimeDelta;

/// Concurrent eviction requests: with more of them a real API server did not answer faster.
pub(crate) const MAX_REQUESTS: usize = 16;
/// Concurrent requests under one budget: each writes the budget, and each conflict costs the API server 500 ms.
pub(crate) const MAX_REQUESTS_PER_BUDGET: usize = 8;
/// Timeout of an eviction request: the API server itself retries a contended budget for up to 10 s.
pub(crate) const EVICTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout of a list or get.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// How long all reads of a node's workloads together may take before its drain: the other nodes wait meanwhile.
pub(crate) const WORKLOADS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request to responders may stay without an answer of the API's controller, before the pod is evicted: an API
/// server may serve the API although nothing acts on it.
pub(crate) const RESPONDERS_TIMEOUT: TimeDelta = TimeDelta::seconds(60);
/// Delay before responders are asked again whose request was deleted.
pub(crate) const ASK_AGAIN: TimeDelta = TimeDelta::seconds(15);

/// From the start of the stage `Delete` to its first deletion: the Event about it must come first.
pub(crate) const DELETE_ANNOUNCEMENT: TimeDelta = TimeDelta::seconds(2);

/// Age at which all dry runs of a blocked node are repeated; until then samples stand for the rest.
pub(crate) const DRY_RUN_MAX_AGE: Duration = Duration::from_mins(10);

/// Minimum age of the cordon at the last list: pods were observed to land on a node up to 2.0 s after its cordon.
pub(crate) const MIN_CORDON_AGE: TimeDelta = TimeDelta::seconds(3);
/// Pods of one owner are no longer evicted after this many returns to the cordoned node: a single return may be chance.
pub(crate) const MAX_RETURNS: u32 = 2;
/// Delay before the next fresh list if the last one showed other pods than the watch, which is a moment behind.
pub(crate) const LIST_RETRY: TimeDelta = TimeDelta::seconds(1);
/// Delay before failed reads of namespace labels or volume claims are repeated; the drain cannot continue without them.
pub(crate) const READ_RETRY: TimeDelta = TimeDelta::seconds(5);
/// A drain whose first list is at most this much younger than the cordon has seen every pod that has to leave. One that
/// continues later may have missed pods.
pub(crate) const FRESH_CORDON: TimeDelta = TimeDelta::seconds(10);
/// A kubelet kills the containers at the end of the grace period and reports a moment later; a pod is stuck after this.
pub(crate) const STUCK_DELAY: TimeDelta = TimeDelta::seconds(10);
/// A pod whose eviction was granted is asked again if it does not shut down within this time; that is harmless.
pub(crate) const GRANT_TIMEOUT: TimeDelta = TimeDelta::seconds(30);
/// How long a failure of the API server is shown: a watch that works again reports nothing until something changes.
pub(crate) const FAILURE_SHOWN_FOR: TimeDelta = TimeDelta::seconds(20);
/// Failures within this time count as one: a broken connection ends all watches that share it, and a first attempt to
/// open them again may come too early.
pub(crate) const SAME_FAILURE: TimeDelta = TimeDelta::seconds(1);

/// Delay after a refusal whose end no watch reports; with up to the same again as jitter, so that nodes do not retry at
/// the same time.
pub(crate) const REFUSAL_RETRY: TimeDelta = TimeDelta::seconds(15);
/// Delay for a pod in a namespace that is being deleted: the namespace controller deletes the pod.
pub(crate) const NAMESPACE_RETRY: TimeDelta = TimeDelta::seconds(60);
/// Backoff after a failure that does not concern the pod: it spares a struggling API server and notices soon that it is
/// back.
pub(crate) const FAILURE_BACKOFF: RetryBackoff = RetryBackoff {
    first: TimeDelta::milliseconds(200),
    max: TimeDelta::seconds(10),
};
/// Backoff after a missing permission: an API server that has just started lacks its roles for a moment; otherwise a
/// person has to grant it.
pub(crate) const PERMISSION_BACKOFF: RetryBackoff = RetryBackoff {
    first: TimeDelta::seconds(5),
    max: TimeDelta::seconds(60),
};

/// A delay that doubles with each failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryBackoff {
    pub(crate) first: TimeDelta,
    pub(crate) max: TimeDelta,
}
