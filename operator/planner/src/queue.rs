//! In which order eligible nodes get slots. Safety never depends on it.

use std::collections::BTreeMap;

use crate::Instant;
use crate::assessment::{Assessment, PolicyAssessment};
use crate::eligibility::Candidate;
use crate::history::recently_rebooted_until;
use crate::names::PolicyName;
use crate::recorded::or_now;
use crate::snapshot::QueueOrder;

/// An eligible node in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Queued<'a> {
    /// Its place among all candidates, which are sorted by name.
    pub(crate) index: usize,
    pub(crate) candidate: Candidate<'a>,
    pub(crate) policy: &'a PolicyAssessment<'a>,
    priority: Priority,
    /// The rank of its domain among those that this rollout has not begun; one domain is finished before the next begins.
    domain_rank: usize,
    /// Since when it requires a reboot, by its agent's report; a person's request without one comes first.
    required_since: Option<Instant>,
    /// The earliest such time from here to the end of its policy's queue, within its priority.
    earliest_behind: Option<Instant>,
}

/// Lower comes first: the operator's own node last, the control plane before it, nodes that were rebooted a short time ago
/// before that, then deferred nodes, and before those the nodes of which only a trial shows whether they can be drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Priority {
    is_own_node: bool,
    control_plane: bool,
    /// A node that requires a reboot again and again must not keep the others from theirs.
    recently_rebooted: bool,
    /// Whether it was deferred, and whether only a trial shows if it can be drained.
    setbacks: (bool, bool),
}

impl<'a> Queued<'a> {
    pub(crate) fn new(
        index: usize,
        candidate: Candidate<'a>,
        policy: &'a PolicyAssessment<'a>,
        assessment: &Assessment,
    ) -> Self {
        let (node_ref, own_node) = (candidate.node_ref, assessment.context.snapshot.own_node.as_deref());
        let now = assessment.context.now;
        let required_since = node_ref.host.and_then(|host| host.required_since);
        let required_since = required_since.map(|since| or_now(since, now));
        Self {
            index,
            candidate,
            policy,
            priority: Priority {
                is_own_node: own_node == Some(node_ref.name),
                control_plane: node_ref.node.control_plane,
                recently_rebooted: node_ref.node.requested.is_none()
                    && recently_rebooted_until(node_ref.record, now).is_some(),
                setbacks: (
                    node_ref.record.deferred.is_some() || node_ref.record.released.is_some(),
                    node_ref.node.drain_details.doubtful,
                ),
            },
            domain_rank: 0,
            required_since,
            earliest_behind: required_since,
        }
    }

    fn policy_name(&self) -> &'a PolicyName {
        self.policy.context.name
    }

    /// Its domain, if this rollout has not begun it yet.
    fn new_domain(&self) -> Option<(&'a PolicyName, &'a str)> {
        let topology = self.policy.context.policy.topology.first()?;
        let domain = self.candidate.node_ref.node.domain(&topology.key);
        let begun = self.policy.context.begun_domains.contains(domain);
        (!begun).then_some((self.policy_name(), domain))
    }

    fn age(&self) -> Option<Instant> {
        match self.policy.context.policy.order {
            QueueOrder::Oldest => self.required_since,
            QueueOrder::Name => None,
        }
    }
}

/// Sorts the queue: each policy by its own order, and the policies by their longest waiting node.
pub(crate) fn sort(queue: &mut [Queued]) {
    rank_domains(queue);
    queue.sort_by_key(|one| (one.policy_name(), one.priority, one.domain_rank, one.age(), one.index));
    // A node that waits for a short time must not hold up older ones behind it in its policy.
    for place in (1..queue.len()).rev() {
        let (one, next) = (&queue[place - 1], &queue[place]);
        if one.policy_name() == next.policy_name() && one.priority == next.priority {
            queue[place - 1].earliest_behind = one.earliest_behind.min(next.earliest_behind);
        }
    }
    queue.sort_by_key(|one| (one.priority, one.earliest_behind, one.policy_name()));
}

/// New domains come one after the other, the one with the longest waiting node first.
fn rank_domains(queue: &mut [Queued]) {
    let mut oldest: BTreeMap<(&PolicyName, &str), Option<Instant>> = BTreeMap::new();
    for one in queue.iter() {
        if let Some(domain) = one.new_domain() {
            let since = oldest.entry(domain).or_insert(one.required_since);
            *since = one.required_since.min(*since);
        }
    }
    let mut domains: Vec<_> = oldest.into_iter().map(|(domain, since)| (since, domain)).collect();
    domains.sort_unstable();
    let ranks: BTreeMap<_, usize> = domains
        .into_iter()
        .zip(1..)
        .map(|((_, domain), rank)| (domain, rank))
        .collect();
    for one in queue {
        one.domain_rank = one
            .new_domain()
            .and_then(|domain| ranks.get(&domain).copied())
            .unwrap_or(0);
    }
}
