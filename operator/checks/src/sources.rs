//! What checks ask: the API server, other servers, and expressions.

use kube::Client;
use lockkeeper_jobs::Jobs;
use lockkeeper_kube_util::Clock;

use crate::expression::Expressions;

/// The clients of all sources.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) client: Client,
    /// The operator's own namespace, whose Secrets checks may name.
    pub(crate) namespace: String,
    pub(crate) jobs: Jobs,
    pub(crate) outbound: lockkeeper_outbound::Client,
    pub(crate) expressions: Expressions,
    pub(crate) clock: Clock,
}
