//! What would block a drain for good, found before anything is touched.

use std::collections::BTreeSet;

use chrono::DateTime;
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;

use crate::answer::Answer;
use crate::blocker::Blocker;
use crate::error::Error;
use crate::evict::{Ask, evict};
use crate::gate::{AT_ONCE_PER_BUDGET, Turn};
use crate::left;
use crate::pod::Uid;
use crate::select::{Bars, Decision};
use crate::settings::Settings;
use crate::state::{State, Tracked};

/// Says what would block a drain of the node for good, all of it, without changing anything.
///
/// Unmanaged pods, two budgets over one pod and budgets that never open are seen in the lists; webhooks and missing
/// permissions by asking for each eviction as a dry run. A budget that has nothing left just now is no blocker: it may
/// open by the time. An empty answer promises nothing, as the cluster goes on.
pub async fn preflight(client: &Client, settings: &Settings) -> Result<Vec<Blocker>, Error> {
    let mut state = State::new(settings.clone());
    state.pods_listed(left::pods(client, &settings.node).await?);
    let budgets = stream::iter(state.namespaces()).map(|namespace| async move {
        let budgets = left::budgets(client, &namespace).await?;
        Ok::<_, Error>((namespace, budgets))
    });
    let budgets: Vec<_> = budgets.buffered(AT_ONCE_PER_BUDGET).try_collect().await?;
    for (namespace, budgets) in budgets {
        state.budgets_listed(&namespace, budgets);
    }
    let mut found = BTreeSet::new();
    let mut asks = Vec::new();
    for (uid, pod) in state.pods.iter().flatten() {
        match look(&state, uid, pod) {
            Look::Leaves => {}
            Look::Blocked(blocker) => {
                found.insert(blocker);
            }
            Look::Ask(ask) => asks.push(ask),
        }
    }
    let answers = stream::iter(asks).map(|ask| async move { (evict(client, &ask).await, ask) });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE_PER_BUDGET).collect().await;
    found.extend(answers.into_iter().filter_map(|(answer, ask)| refused(answer, ask)));
    Ok(found.into_iter().collect())
}

/// What the lists say about a pod.
enum Look {
    /// Nothing is in its way, or it need not leave.
    Leaves,
    /// This is in its way for good.
    Blocked(Blocker),
    /// Only the API server can tell.
    Ask(Ask),
}

fn look(state: &State, uid: &Uid, pod: &Tracked) -> Look {
    let name = pod.view.name.clone();
    match pod.decision {
        Decision::Skip(_) | Decision::Wait => return Look::Leaves,
        Decision::Block(Bars::Unmanaged) => return Look::Blocked(Blocker::Unmanaged { pod: name }),
        Decision::Evict => {}
    }
    // Nothing was asked yet, so the time does not matter.
    if let Turn::TwoBudgets(budgets) = state.turn(DateTime::UNIX_EPOCH, uid, pod, &state.load()) {
        return Look::Blocked(Blocker::TwoBudgets { pod: name, budgets });
    }
    let mut guards = state.budgets_of(&pod.view).filter(|budget| budget.guards(&pod.view));
    match guards.next() {
        Some(budget) if budget.never() => Look::Blocked(budget.blocks(name, "")),
        Some(_) | None => Look::Ask(Ask {
            pod: name,
            uid: uid.clone(),
            grace: state.grace(pod),
            dry_run: true,
        }),
    }
}

/// Whether the answer to a dry run is one that waiting does not change.
fn refused(answer: Answer, ask: Ask) -> Option<Blocker> {
    let pod = ask.pod;
    match answer {
        // Webhooks that do not know dry runs are not asked by the API server, which then says so.
        Answer::Refused { code: 400, message } if message.contains("dry run") => None,
        Answer::Webhook { message } => Some(Blocker::Webhook { pod, message }),
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
