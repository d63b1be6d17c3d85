//! The deadline of a node: when it is overdue, which rungs apply to it, and whether the forecast meets it.

use chrono::{SubsecRound, Utc};
use lockkeeper_crds::NodeReboot;
use lockkeeper_planner::{Horizon, Instant, Node, Overrides, Policy, forecast};
use lockkeeper_snapshot::{Local, snapshot};

use crate::clock::{DisplayClock, duration};
use crate::cluster::{Cluster, objects};
use crate::commands::forecast::observed;

/// When a node will be done, by a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Then.
    Done(Instant),
    /// Not unless a person acts.
    Never,
    /// Not within the part of the future that was simulated.
    Unknown,
}

/// The line about the deadline, if the node requires a reboot and its policy has one. A reader who may not list all that a
/// forecast needs gets none.
pub(super) async fn find(cluster: &Cluster, name: &str, reboot: &NodeReboot, clock: &DisplayClock) -> Option<String> {
    let host = reboot.status.as_ref()?.host.as_ref()?;
    if !host.reboot_required.required {
        return None;
    }
    let objects = objects::fetch(cluster).await.ok()?;
    let spec = &objects.policies.get(reboot.spec.policy.as_deref()?)?.spec;
    if spec.deadline.is_none() && spec.urgent.is_none() {
        return None;
    }
    let nodes = objects::fetch_nodes(cluster).await.ok()?;
    let snapshot = snapshot(&observed(&objects, nodes), &Local::default());
    let node = snapshot.nodes.get(name)?;
    let policy = snapshot.policies.get(reboot.spec.policy.as_deref()?)?;
    let forecast = forecast(&snapshot, Utc::now().trunc_subsecs(0), Horizon::default());
    let outlook = match forecast.nodes.get(name) {
        Some(span) => Outlook::Done(span.end),
        None if forecast.never.contains_key(name) => Outlook::Never,
        None => Outlook::Unknown,
    };
    describe(policy, node, outlook, clock)
}

/// What the policy's deadline and its urgent override mean for this node.
pub(crate) fn describe(policy: &Policy, node: &Node, outlook: Outlook, clock: &DisplayClock) -> Option<String> {
    let now = clock.now;
    let mut parts = Vec::new();
    if let Some((deadline, since)) = policy.deadline.as_ref().zip(node.pending_since(now)) {
        let overdue = since + deadline.max_pending;
        parts.push(if overdue <= now {
            format!("overdue since {}", clock.time_and_age(overdue))
        } else {
            format!("overdue at {}", clock.time_and_remaining(overdue))
        });
        parts.push(met(overdue, outlook, clock));
        let rungs = deadline.ladder.iter().map(|rung| {
            let (name, at) = (rung.kind.as_str(), since + rung.after);
            if at <= now {
                format!("{name} since {}", clock.time(at))
            } else {
                format!("{name} from {} on", clock.time_and_remaining(at))
            }
        });
        parts.extend(rungs);
    }
    if let Some(urgent) = Overrides::of(policy, node, now).urgent {
        let overrides: Vec<&str> = urgent.overrides.iter().map(|one| one.as_str()).collect();
        let until = clock.time_and_remaining(urgent.until);
        parts.push(format!(
            "urgent until {until}: {} ({})",
            overrides.join(", "),
            urgent.reason
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whether the forecast meets the deadline.
fn met(overdue: Instant, outlook: Outlook, clock: &DisplayClock) -> String {
    match outlook {
        Outlook::Done(done) if done <= overdue => {
            format!("done by {} if nothing blocks, in time", clock.time(done))
        }
        Outlook::Done(done) => {
            let late = duration((done - overdue).num_seconds());
            format!("done by {} if nothing blocks, {late} too late", clock.time(done))
        }
        Outlook::Never => "not rebooted unless you act".to_owned(),
        Outlook::Unknown => "whether it is done in time is not known".to_owned(),
    }
}
