//! What would block a drain for good, found before anything is touched.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;

use crate::answer::Answer;
use crate::blocker::{Blocker, Numbers};
use crate::cause::{Cause, group};
use crate::error::Error;
use crate::evict::{Ask, How, evict};
use crate::left;
use crate::limits::AT_ONCE_PER_BUDGET;
use crate::pod::{PodName, Uid};
use crate::report::barred;
use crate::select::{Decision, Tier};
use crate::settings::Settings;
use crate::state::{State, Tracked};

/// What a drain of a node would meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// Each pod of the node, by tier and name.
    pub pods: Vec<PodPreflight>,
    /// What no waiting helps, one line for all pods with the same cause; empty if the node can be emptied.
    pub blockers: Vec<Cause>,
}

/// What a drain would do with one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPreflight {
    /// The pod.
    pub pod: PodName,
    /// What is to become of it.
    pub decision: Decision,
    /// When it leaves.
    pub tier: Tier,
    /// The budget that guards it, with what it allows now.
    pub budget: Option<(PodName, Numbers)>,
    /// What keeps it here for good.
    pub blockers: Vec<Blocker>,
}

/// Says what a drain of the node would do, and what would block it for good, without changing anything.
///
/// What bars a pod, two budgets over one pod and budgets that never open are seen in the lists; webhooks and missing
/// permissions by asking for the eviction as a dry run, once for each pod whose answer is not known without. A budget
/// that has nothing left just now is no blocker: it may open by the time. No blocker promises nothing, as the cluster
/// goes on.
pub async fn preflight(client: &Client, settings: &Settings) -> Result<Preflight, Error> {
    ahead(client, settings, DryRuns::EachPod).await
}

/// As [`preflight`], at the price of one dry run for each namespace: for use right before a drain.
///
/// Permissions and most webhooks are by namespace; what one pod alone meets, the drain shows a moment later.
pub async fn glance(client: &Client, settings: &Settings) -> Result<Preflight, Error> {
    ahead(client, settings, DryRuns::OnePerNamespace).await
}

/// Which pods are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DryRuns {
    /// Each one whose answer is not known without.
    EachPod,
    /// One of those for each namespace.
    OnePerNamespace,
}

async fn ahead(client: &Client, settings: &Settings, dry_runs: DryRuns) -> Result<Preflight, Error> {
    let state = look(client, settings).await?;
    let mut found: BTreeMap<&Uid, PodPreflight> = BTreeMap::new();
    let mut asks = Vec::new();
    for (uid, pod) in state.pods.iter().flatten() {
        let guard = state.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
        let blockers = seen_blockers(pod, &state);
        let closed = guard.is_some_and(|budget| budget.numbers.allowed < 1);
        if blockers.is_empty() && !closed && pod.decision == Decision::Evict {
            asks.push(Ask {
                pod: pod.view.name.clone(),
                uid: uid.clone(),
                grace: None,
                how: How::Evict,
                dry_run: true,
            });
        }
        let line = PodPreflight {
            pod: pod.view.name.clone(),
            decision: pod.decision.clone(),
            tier: pod.tier,
            budget: guard.map(|budget| (budget.name.clone(), budget.numbers)),
            blockers,
        };
        found.insert(uid, line);
    }
    if dry_runs == DryRuns::OnePerNamespace {
        let mut namespaces = BTreeSet::new();
        asks.retain(|ask: &Ask| namespaces.insert(ask.pod.namespace.clone()));
    }
    let answers = stream::iter(asks).map(|ask| async move { (evict(client, &ask).await, ask) });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE_PER_BUDGET).collect().await;
    for (answer, ask) in answers {
        if let (Some(line), Some(blocker)) = (found.get_mut(&ask.uid), refused(answer, ask.pod)) {
            line.blockers.push(blocker);
        }
    }
    let mut pods: Vec<PodPreflight> = found.into_values().collect();
    pods.sort_by(|a, b| (a.tier, &a.pod).cmp(&(b.tier, &b.pod)));
    let blockers = group(pods.iter().flat_map(|line| line.blockers.clone()).collect());
    Ok(Preflight { pods, blockers })
}

/// Everything that lists show.
async fn look(client: &Client, settings: &Settings) -> Result<State, Error> {
    let mut state = State::new(settings.clone());
    let pods = left::pods(client, &settings.node).await?;
    state.namespaces = left::namespaces(client, settings, &pods).await?;
    state.pods_listed(pods);
    let budgets = stream::iter(state.namespaces_asked()).map(|namespace| async move {
        let budgets = left::budgets(client, &namespace).await?;
        Ok::<_, Error>((namespace, budgets))
    });
    let budgets: Vec<_> = budgets.buffered(AT_ONCE_PER_BUDGET).try_collect().await?;
    for (namespace, budgets) in budgets {
        state.budgets_listed(&namespace, budgets);
    }
    Ok(state)
}

/// What the lists say is in a pod's way for good.
fn seen_blockers(pod: &Tracked, state: &State) -> Vec<Blocker> {
    let name = pod.view.name.clone();
    match &pod.decision {
        Decision::Block(bars) => return bars.iter().map(|bar| barred(*bar, name.clone())).collect(),
        Decision::Skip(_) | Decision::Wait | Decision::Delete | Decision::Complete(_) | Decision::Unknown => {
            return Vec::new();
        }
        Decision::Evict => {}
    }
    if let Some(budgets) = state.clash(&pod.view) {
        return vec![Blocker::TwoBudgets { pod: name, budgets }];
    }
    let guard = state.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
    let never = guard.filter(|budget| budget.never());
    never.map(|budget| budget.blocks(name, "")).into_iter().collect()
}

/// Whether the answer to a dry run is one that waiting does not change.
fn refused(answer: Answer, pod: PodName) -> Option<Blocker> {
    match answer {
        // Webhooks that do not know dry runs are not asked by the API server, which then says so.
        Answer::Refused { code: 400, message } if message.contains("dry run") => None,
        // With 429 a webhook says that asking has set something off; with 5xx that it has trouble.
        Answer::Webhook { code, message } => (code < 500 && code != 429).then_some(Blocker::Webhook { pod, message }),
        Answer::Forbidden { message } => Some(Blocker::Forbidden { pod, message }),
        Answer::Refused { code, message } => Some(Blocker::Refused { pod, code, message }),
        Answer::TwoBudgets => Some(Blocker::TwoBudgets {
            pod,
            budgets: Vec::new(),
        }),
        Answer::Granted
        | Answer::Gone
        | Answer::Budget { .. }
        | Answer::NamespaceTerminating
        | Answer::Busy { .. }
        | Answer::Unavailable { .. } => None,
    }
}
