//! Deadlines whose rungs nodes reach one after the other, and people who declare a rollout urgent for some time.
//!
//! All of it is drawn from a generator of its own. What is overridden for a node is computed here a second time, from what the
//! writer of an action had seen.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::Cluster;
use super::judge::Judge;
use super::view::View;
use super::world::{Event, World};
use super::writer::Allowed;

/// What sets its generator apart from the seed's own.
pub const GENERATOR: u64 = 0x6465_6164_6c69_6e65;

/// What is overridden for one node.
#[derive(Clone, Debug)]
pub struct InForce {
    pub overrides: Vec<Override>,
    /// The policy's schedule as it is for this node.
    pub schedule: Result<Schedule, String>,
}

impl InForce {
    /// By how long the node has required a reboot, each rung on its own, and by the urgent override.
    pub fn of(policy: &Policy, node: &Node, now: Instant) -> Self {
        let rungs = policy.deadline.iter().flat_map(|deadline| &deadline.ladder);
        let waited = waited(node, now);
        let reached: Vec<&Rung> = rungs
            .filter(|rung| waited.is_some_and(|waited| waited >= rung.after))
            .collect();
        let mut overrides: Vec<Override> = reached.iter().map(|rung| rung.kind).collect();
        let present = policy.state.rollout.as_ref().map(|rollout| &rollout.id);
        if let Some(urgent) = &policy.urgent {
            let meant = urgent.rollout.is_none() || urgent.rollout.as_ref() == present;
            if meant && urgent.from <= now && now < urgent.until {
                overrides.extend(&urgent.overrides);
            }
        }
        let mut schedule = policy.schedule.clone();
        if let Ok(schedule) = schedule.as_mut().map(|schedule| &mut schedule.windows) {
            if overrides.contains(&Override::IgnoreWindows) {
                schedule.clear();
            } else if !schedule.is_empty() {
                schedule.extend(reached.iter().filter_map(|rung| rung.window.clone()));
            }
        }
        Self { overrides, schedule }
    }

    pub fn has(&self, kind: Override) -> bool {
        self.overrides.contains(&kind)
    }
}

fn waited(node: &Node, now: Instant) -> Option<TimeDelta> {
    let record = node.record.as_ref()?;
    let host = record.host.as_ref()?;
    if !host.required || host.boot_id != node.boot_id {
        return None;
    }
    let known = |time: &Instant| *time - now <= TimeDelta::minutes(2);
    let since = match host.required_since.filter(known) {
        Some(reported) => reported,
        None => record.required_observed.filter(known)?,
    };
    let started = record.last_reboot.as_ref().map(|last| last.started);
    let bounds = [Some(node.created), started].into_iter().flatten();
    let begins = bounds.filter(known).fold(since, Instant::max);
    Some(now - begins)
}

/// What is overridden for each node whose policy may override something, by its name.
pub fn in_force(view: &View, now: Instant) -> Vec<(String, InForce)> {
    let snapshot = &view.snapshot;
    let all = snapshot.nodes.iter().filter_map(|(name, node)| {
        let [policy] = &*node.policies else { return None };
        let policy = snapshot.policies.get(policy)?;
        let overrides = policy.deadline.is_some() || policy.urgent.is_some();
        overrides.then(|| (name.clone(), InForce::of(policy, node, now)))
    });
    all.collect()
}

impl World {
    /// The policies have deadlines, and now and then a rollout is urgent.
    pub fn with_deadlines(&mut self) {
        for index in 0..self.cluster.policies.len() {
            let deadline = self.draw_deadline();
            self.cluster
                .edit_policy(index, |object| object.value.deadline = Some(deadline));
        }
        self.cluster.news.clear();
        let delay = self.deadline_rng.between(1_000, 1_200_000);
        self.after(delay, Event::Urgent);
    }

    fn draw_deadline(&mut self) -> PendingDeadline {
        let rng = &mut self.deadline_rng;
        let window = || Window::parse("15 * * * *", 1_500, "UTC").ok();
        let rungs = rng.below(4) + 1;
        let mut ladder: Vec<Rung> = (0..rungs)
            .map(|_| {
                let kind = rng.pick(&Override::ALL);
                let longest = rng.pick(&[120, 1_200, 10_000]);
                Rung {
                    after: TimeDelta::seconds(rng.between(10, longest)),
                    kind,
                    window: window().filter(|_| kind == Override::ExtraWindow),
                }
            })
            .collect();
        ladder.sort_by_key(|rung| rung.after);
        PendingDeadline {
            max_pending: TimeDelta::hours(2),
            ladder,
        }
    }

    /// A person declares a rollout urgent, or takes that back.
    pub fn declares_urgent(&mut self) {
        if self.quiet {
            return;
        }
        let (now, index) = (self.now(), self.deadline_rng.below(self.cluster.policies.len()));
        let rng = &mut self.deadline_rng;
        let kinds = [Override::IgnoreWindows, Override::IgnoreChecks, Override::DeletePods];
        let overrides: Vec<Override> = kinds.into_iter().filter(|_| rng.chance(600)).collect();
        let from = now + TimeDelta::seconds(rng.pick(&[0, 0, 300]));
        let length = TimeDelta::seconds(rng.between(30, 3_000));
        let (names_rollout, ends) = (rng.chance(300), rng.chance(200));
        self.cluster.edit_policy(index, |object| {
            let rollout = object.value.state.rollout.as_ref().filter(|_| names_rollout);
            object.value.urgent = (!ends).then(|| Urgent {
                reason: "CVE".to_owned(),
                from,
                until: from + length,
                rollout: rollout.map(|rollout| rollout.id.clone()),
                overrides,
            });
        });
        self.tell(|world| format!("{} is urgent, or no longer", world.cluster.policy_names[index]));
        let delay = self.deadline_rng.between(10_000, 3_000_000);
        self.after(delay, Event::Urgent);
    }
}

impl Judge {
    /// An operation that begins records no more as overridden than is; pods are deleted only if it has recorded that,
    /// or the policy asks for it.
    pub fn overrides(
        &mut self,
        cluster: &Cluster,
        node: usize,
        before: Option<&Operation>,
        change: &RecordChange,
        allowed: &Allowed,
    ) {
        let Change::Set(Some(operation)) = &change.operation else {
            return;
        };
        let name = &cluster.names[node];
        let before = before.filter(|before| before.id == operation.id);
        let recorded = operation.overridden.as_ref();
        let recorded = recorded.map_or(&[][..], |recorded| &recorded.overrides);
        // A record that went away with its Node does not begin again with what was written about it.
        let begins = before.is_none() && operation.phase == Phase::Preparing && cluster.record(node).is_some();
        if begins {
            let in_force = |kind: &Override| allowed.in_force(name).is_some_and(|in_force| in_force.has(*kind));
            for kind in recorded.iter().filter(|kind| !in_force(kind)) {
                self.broken("S2", &format!("{name} starts as if {kind:?} applied"));
            }
        }
        let deletes = operation.is_in(StageKind::Delete) && before.is_some_and(|before| before.stage.is_none());
        let asked = operation.settings.on_timeout == OnTimeout::Delete || recorded.contains(&Override::DeletePods);
        if deletes && !asked {
            self.broken(
                "S3",
                &format!("the pods of {name} are deleted, and nothing asks for it"),
            );
        }
    }
}
