//! The preflight: what would block a drain permanently, without a change to the cluster.

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;

use crate::blocker::{Blocker, BudgetNumbers, BudgetOutlook};
use crate::cause::{Cause, group_by_cause};
use crate::dry_run::{DryRunCache, DryRunResult, UnansweredPod};
use crate::error::Error;
use crate::evict::{EvictionMethod, RemovalRequest};
use crate::fresh_reads;
use crate::limits::MAX_REQUESTS_PER_BUDGET;
use crate::pod::{PodName, Tolerance};
use crate::select::{Decision, Tier};
use crate::settings::Settings;
use crate::state::{State, TrackedPod};

/// What a drain of a node would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// Each pod of the node, by tier and name.
    pub pods: Vec<PodPreflight>,
    /// What waiting does not solve, one entry for all pods with the same cause; empty if the node can be drained.
    pub blockers: Vec<Cause>,
}

/// What a drain would do with one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPreflight {
    /// The pod.
    pub pod: PodName,
    /// What the drain does with it.
    pub decision: Decision,
    /// When it is evicted.
    pub tier: Tier,
    /// The budget that guards it, with its numbers.
    pub budget: Option<(PodName, BudgetNumbers)>,
    /// What blocks it permanently.
    pub blockers: Vec<Blocker>,
    /// What may keep it on the node and may end during the drain: a budget that never allows a disruption as it is and is
    /// tried once the node is cordoned, or a webhook that refuses for now.
    pub doubt: Option<Blocker>,
    /// How long it may take to shut down, in seconds.
    pub grace: i64,
    /// Its owner, if that may place it on the node again after its eviction.
    pub may_return: Option<String>,
}

/// Why a node cannot be drained, for a status with the pod in a field of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightBlock {
    /// The pod that blocks first; `None` if the first cause concerns several pods, or none.
    pub pod: Option<PodName>,
    /// All causes; the message about `pod` does not name it again.
    pub message: String,
}

impl Preflight {
    /// What may end during the drain, and may not: one entry for all pods with the same cause.
    pub fn doubts(&self) -> Vec<Cause> {
        let doubts = self.pods.iter().filter(|pod| pod.blockers.is_empty());
        group_by_cause(doubts.filter_map(|pod| pod.doubt.clone()).collect())
    }

    /// The longest time, in seconds, that a pod which is evicted may take to shut down.
    pub fn longest_grace(&self) -> i64 {
        let evicted = self.pods.iter().filter(|pod| pod.decision == Decision::Evict);
        evicted.map(|pod| pod.grace).max().unwrap_or_default()
    }

    /// Why the node cannot be drained; `None` if nothing blocks permanently.
    pub fn block(&self) -> Option<PreflightBlock> {
        let (first, others) = self.blockers.split_first()?;
        let pod = first.only_pod().cloned();
        let first = if pod.is_some() {
            first.message_without_pods()
        } else {
            first.to_string()
        };
        let mut messages = vec![first];
        messages.extend(others.iter().map(ToString::to_string));
        Some(PreflightBlock {
            pod,
            message: messages.join("; "),
        })
    }
}

/// Finds what a drain of the node would do, and what would block it permanently, without changing anything.
///
/// Lists show protected pods, pods that are stuck in their shutdown, pods under two budgets, and budgets that never allow a disruption. Dry runs of evictions,
/// one for each other pod, show webhooks that refuse, for good or for now, and missing permissions. A budget that is exhausted now does not
/// block: it may allow a disruption later. An empty result is no promise, as the cluster changes. If dry runs have no
/// conclusive answer and nothing else blocks, the result is an error.
pub async fn preflight(client: &Client, settings: &Settings) -> Result<Preflight, Error> {
    preflight_with_cache(client, settings, &mut DryRunCache::default()).await
}

/// Like [`preflight`], but uses earlier answers to dry runs for this node. Dry runs are sent for new pods and for one
/// pod of each namespace and kind of answer; for all pods only if one of these answers has changed, and every ten
/// minutes.
pub async fn preflight_with_cache(
    client: &Client,
    settings: &Settings,
    dry_runs: &mut DryRunCache,
) -> Result<Preflight, Error> {
    let (state, now, requests) = read(client, settings).await?;
    let unanswered = dry_runs.refresh(client, requests).await;
    combine(&state, now, dry_runs, unanswered)
}

/// Like [`preflight`], with only one dry run for each namespace: for use right before a drain.
///
/// Permissions and most webhooks are the same for all pods of a namespace. The drain shows the others a moment later.
pub async fn quick_preflight(client: &Client, settings: &Settings) -> Result<Preflight, Error> {
    let (state, now, requests) = read(client, settings).await?;
    let mut dry_runs = DryRunCache::default();
    let unanswered = dry_runs.sample_namespaces(client, requests).await;
    combine(&state, now, &dry_runs, unanswered)
}

/// Combines what the lists and the dry runs show.
fn combine(
    state: &State,
    now: DateTime<Utc>,
    dry_runs: &DryRunCache,
    unanswered: Option<UnansweredPod>,
) -> Result<Preflight, Error> {
    let pods = state.pods.iter().flatten().map(|(uid, pod)| {
        let guard = state.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
        let mut blockers = listed_blockers(now, pod, state);
        let mut doubt = doubt(pod, state);
        if blockers.is_empty() {
            match dry_runs.by_pod.get(uid).cloned() {
                Some(DryRunResult::Blocked(blocker)) => blockers.push(blocker),
                Some(DryRunResult::Doubt(blocker)) => doubt = Some(blocker),
                Some(DryRunResult::Clear) | None => {}
            }
        }
        PodPreflight {
            pod: pod.view.name.clone(),
            decision: pod.decision.clone(),
            tier: pod.tier,
            budget: guard.map(|budget| (budget.name.clone(), budget.numbers)),
            blockers,
            doubt,
            grace: state.settings.grace_period_seconds.unwrap_or(pod.view.grace),
            may_return: may_return(pod),
        }
    });
    let mut pods: Vec<PodPreflight> = pods.collect();
    pods.sort_by(|a, b| (a.tier, &a.pod).cmp(&(b.tier, &b.pod)));
    let blockers = group_by_cause(pods.iter().flat_map(|line| line.blockers.clone()).collect());
    match unanswered {
        Some((pod, message)) if blockers.is_empty() => Err(Error::DryRun { pod, message }),
        Some(_) | None => Ok(Preflight { pods, blockers }),
    }
}

/// Lists the pods and budgets, and returns dry runs for the pods that the lists do not decide.
async fn read(client: &Client, settings: &Settings) -> Result<(State, DateTime<Utc>, Vec<RemovalRequest>), Error> {
    let mut state = State::new(settings.clone());
    let pods = fresh_reads::pods(client, &settings.node).await?;
    let now = settings.clock.now();
    state.namespaces = fresh_reads::namespaces(client, settings, &pods).await?;
    state.pods_listed(now, pods);
    if state.pods.iter().flatten().any(|(_, pod)| needs_node(now, pod, &state)) {
        state.node = fresh_reads::node(client, &settings.node).await?;
    }
    let budgets = stream::iter(state.namespaces_with_evictions()).map(|namespace| async move {
        let budgets = fresh_reads::budgets(client, &namespace).await?;
        Ok::<_, Error>((namespace, budgets))
    });
    let budgets: Vec<_> = budgets.buffered(MAX_REQUESTS_PER_BUDGET).try_collect().await?;
    for (namespace, budgets) in budgets {
        state.budgets_listed(&namespace, budgets);
    }
    let requests = dry_runs(now, &state);
    Ok((state, now, requests))
}

/// Whether only the node can tell what keeps a pod that is past its grace period.
fn needs_node(now: DateTime<Utc>, pod: &TrackedPod, state: &State) -> bool {
    pod.decision == Decision::Wait && pod.view.finalizers.is_empty() && state.stuck_blocker(now, pod).is_some()
}

/// The budget under which the eviction of a pod is tried.
fn doubt(pod: &TrackedPod, state: &State) -> Option<Blocker> {
    let budget = state
        .tried_budget(&pod.view)
        .filter(|budget| budget.sync_error.is_none())?;
    (pod.decision == Decision::Evict && !state.asks_responders(pod))
        .then(|| budget.blocker(pod.view.name.clone(), BudgetOutlook::AfterCordon, ""))
}

/// The owner of a pod that is evicted, if the pod tolerates the cordon.
fn may_return(pod: &TrackedPod) -> Option<String> {
    let tolerates = pod.decision == Decision::Evict && pod.view.tolerance != Tolerance::None;
    pod.view.owner.clone().filter(|_| tolerates)
}

/// Dry runs for pods without a blocker and without responders. An exhausted budget would refuse; that answer is known.
fn dry_runs(now: DateTime<Utc>, state: &State) -> Vec<RemovalRequest> {
    let allowed = |pod: &TrackedPod| {
        let guard = state.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
        guard.is_none_or(|budget| budget.numbers.allowed > 0)
    };
    let pods = state.pods.iter().flatten();
    let undecided = |pod: &TrackedPod| {
        pod.decision == Decision::Evict
            && !state.asks_responders(pod)
            && allowed(pod)
            && listed_blockers(now, pod, state).is_empty()
    };
    pods.filter(|(_, pod)| undecided(pod))
        .map(|(uid, pod)| RemovalRequest {
            pod: pod.view.name.clone(),
            uid: uid.clone(),
            node: state.settings.node.clone(),
            grace: None,
            method: EvictionMethod::Evict,
            dry_run: true,
        })
        .collect()
}

/// What blocks a pod permanently, as far as the lists show.
fn listed_blockers(now: DateTime<Utc>, pod: &TrackedPod, state: &State) -> Vec<Blocker> {
    let name = pod.view.name.clone();
    match &pod.decision {
        Decision::Block(bars) => return bars.iter().map(|bar| bar.blocker(&pod.view)).collect(),
        // A finalizer, or the kubelet, has kept it for longer than its grace period already.
        Decision::Wait => return state.stuck_blocker(now, pod).into_iter().collect(),
        Decision::Skip(_) | Decision::Delete | Decision::Complete(_) | Decision::Unknown => return Vec::new(),
        // What its responders can do is not known before they are asked.
        Decision::Evict if state.asks_responders(pod) => return Vec::new(),
        Decision::Evict => {}
    }
    if let Some(budgets) = state.conflicting_budgets(&pod.view) {
        return vec![Blocker::TwoBudgets { pod: name, budgets }];
    }
    let guard = state.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
    let blocker = guard.map(|budget| (budget, state.outlook(&pod.view, budget)));
    let never = blocker.filter(|(budget, outlook)| budget.sync_error.is_some() || outlook.is_never());
    never
        .map(|(budget, outlook)| budget.blocker(name, outlook, ""))
        .into_iter()
        .collect()
}
