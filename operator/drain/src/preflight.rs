//! What would block a drain for good, found before anything is touched.

use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;

use crate::blocker::{Blocker, Numbers};
use crate::cause::{Cause, group};
use crate::dry_run::{Answers, Unanswered};
use crate::error::Error;
use crate::evict::{Ask, How};
use crate::left;
use crate::limits::AT_ONCE_PER_BUDGET;
use crate::pod::PodName;
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
/// goes on. Where nobody answers a dry run and nothing else is in the way, that is an error: it is not known.
pub async fn preflight(client: &Client, settings: &Settings) -> Result<Preflight, Error> {
    preflight_again(client, settings, &mut Answers::default()).await
}

/// As [`preflight`], with what the dry runs of this node were answered before: pods that are new are asked, and one of
/// each namespace and kind of answer; the others only if those say something else, and every ten minutes.
pub async fn preflight_again(client: &Client, settings: &Settings, answers: &mut Answers) -> Result<Preflight, Error> {
    let (state, asks) = look(client, settings).await?;
    let unanswered = answers.renew(client, asks).await;
    sum(&state, answers, unanswered)
}

/// As [`preflight`], at the price of one dry run for each namespace: for use right before a drain.
///
/// Permissions and most webhooks are by namespace; what one pod alone meets, the drain shows a moment later.
pub async fn glance(client: &Client, settings: &Settings) -> Result<Preflight, Error> {
    let (state, asks) = look(client, settings).await?;
    let mut answers = Answers::default();
    let unanswered = answers.glance(client, asks).await;
    sum(&state, &answers, unanswered)
}

/// Puts together what lists and answers say; not known is no answer, but for what is in the way at any rate.
fn sum(state: &State, answers: &Answers, unanswered: Option<Unanswered>) -> Result<Preflight, Error> {
    let pods = state.pods.iter().flatten().map(|(uid, pod)| {
        let guard = state.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
        let mut blockers = seen_blockers(pod, state);
        if blockers.is_empty() {
            blockers.extend(answers.by_pod.get(uid).cloned().flatten());
        }
        PodPreflight {
            pod: pod.view.name.clone(),
            decision: pod.decision.clone(),
            tier: pod.tier,
            budget: guard.map(|budget| (budget.name.clone(), budget.numbers)),
            blockers,
        }
    });
    let mut pods: Vec<PodPreflight> = pods.collect();
    pods.sort_by(|a, b| (a.tier, &a.pod).cmp(&(b.tier, &b.pod)));
    let blockers = group(pods.iter().flat_map(|line| line.blockers.clone()).collect());
    match unanswered {
        Some((pod, message)) if blockers.is_empty() => Err(Error::DryRun { pod, message }),
        Some(_) | None => Ok(Preflight { pods, blockers }),
    }
}

/// Everything that lists show, and the pods whose answer is not known by it.
async fn look(client: &Client, settings: &Settings) -> Result<(State, Vec<Ask>), Error> {
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
    let asks = asks(&state);
    Ok((state, asks))
}

/// A budget that is closed refuses without being asked; what is barred is not asked at all.
fn asks(state: &State) -> Vec<Ask> {
    let open = |pod: &Tracked| {
        let guard = state.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
        guard.is_none_or(|budget| budget.numbers.allowed > 0)
    };
    let pods = state.pods.iter().flatten();
    pods.filter(|(_, pod)| pod.decision == Decision::Evict && open(pod) && seen_blockers(pod, state).is_empty())
        .map(|(uid, pod)| Ask {
            pod: pod.view.name.clone(),
            uid: uid.clone(),
            grace: None,
            how: How::Evict,
            dry_run: true,
        })
        .collect()
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
