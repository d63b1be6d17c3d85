//! Hooks of the policies: Jobs that take a while and may fail, and people or programs that answer on the Node, or do not.
//!
//! All of it is drawn from a generator of its own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::Cluster;
use super::faults::Fault;
use super::judge::Judge;
use super::world::{Event, World};

/// What sets its generator apart from the seed's own.
pub const GENERATOR: u64 = 0x686f_6f6b_7365_6564;

/// The Jobs that were created, by the id of the hook's run.
#[derive(Debug, Default)]
pub struct Jobs(BTreeMap<String, Job>);

#[derive(Clone, Copy, Debug)]
struct Job {
    /// When it ends.
    ends: i64,
    fails: bool,
}

/// What of the hooks is true, whoever has noticed it.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// The runs whose Job has succeeded, or that a client has answered.
    succeeded: BTreeSet<String>,
}

impl World {
    /// The policies have hooks.
    pub fn with_hooks(&mut self) {
        for index in 0..self.cluster.policies.len() {
            let Some(object) = self.cluster.policies[index].as_deref().cloned() else {
                continue;
            };
            let mut object = object;
            object.value.settings.hooks = lockkeeper_planner::Hooks {
                before_drain: self.hooks("a"),
                before_reboot: self.hooks("b"),
                after_reboot: self.hooks("c"),
            };
            self.cluster.put_policy(index, Some(object));
        }
        self.cluster.news.clear();
        self.after(1_000, Event::HookAnswers);
    }

    fn hooks(&mut self, prefix: &str) -> Vec<Hook> {
        let count = self.hook_rng.pick(&[0, 0, 1, 1, 2]);
        let hook = |number| {
            let rng = &mut self.hook_rng;
            let kind = if rng.chance(500) {
                HookKind::Job {
                    template: "move".to_owned(),
                    on_node: false,
                }
            } else {
                HookKind::Annotation(HandshakeKeys {
                    annotation: format!("example.com/{prefix}{number}"),
                    label: rng.chance(500).then(|| format!("example.com/{prefix}{number}-waits")),
                })
            };
            Hook {
                name: format!("{prefix}{number}"),
                kind,
                timeout: TimeDelta::seconds(rng.pick(&[60, 600, 600])),
                ignores_failure: rng.chance(300),
            }
        };
        (0..count).map(hook).collect()
    }

    /// Those who answer on the Nodes look at all of them.
    pub fn answer_hooks(&mut self) {
        for index in 0..self.cluster.nodes.len() {
            let waiting = self.cluster.nodes[index].as_ref();
            let waiting = waiting.and_then(|node| node.value.handshake.as_ref());
            let Some(handshake) = waiting.filter(|handshake| !handshake.answered) else {
                continue;
            };
            let id = handshake.id.clone();
            if self.quiet || self.hook_rng.chance(600) {
                self.tell(|world| format!("{}: a client answers hook {id}", world.cluster.names[index]));
                self.cluster.hooks.succeeded.insert(id);
                self.cluster.edit_node(index, |object| {
                    object
                        .value
                        .handshake
                        .iter_mut()
                        .for_each(|handshake| handshake.answered = true);
                });
            }
        }
        let longest = self.hook_rng.pick(&[10_000, 60_000, 400_000]);
        let delay = self.hook_rng.between(1_000, longest);
        self.after(delay, Event::HookAnswers);
    }

    /// Creates and observes the Jobs that the plan names, as `operator/src/tasks/hooks.rs` does.
    pub fn update_hook_jobs(&mut self, operator: usize, wanted: &BTreeMap<String, HookJob>) {
        let place = |(name, job): (&String, &HookJob)| Some((self.cluster.index(name)?, job.id.clone()));
        let wanted: BTreeMap<usize, String> = wanted.iter().filter_map(place).collect();
        let known = &mut self.operators[operator];
        let ended = known.hook_jobs.iter();
        let ended = ended.filter(|(index, (id, _))| wanted.get(index) != Some(id));
        let ended: Vec<usize> = ended.map(|(index, _)| *index).collect();
        for index in ended {
            known.hook_jobs.remove(&index);
            known.view.set_hook_job(index, None);
        }
        for (index, id) in wanted {
            if !self.operators[operator].hook_jobs.contains_key(&index) {
                self.probes += 1;
                let (number, delay) = (self.probes, self.hook_rng.between(5, 400));
                self.operators[operator].hook_jobs.insert(index, (id, number));
                self.after(delay, Event::HookJob(operator, number, index));
            }
        }
    }

    /// One request about the Job of a hook is answered.
    pub fn observe_hook_job(&mut self, operator: usize, number: u64, index: usize) {
        let known = &self.operators[operator];
        let Some((id, _)) = known.hook_jobs.get(&index).filter(|(_, known)| *known == number) else {
            return;
        };
        let id = id.clone();
        let trouble = self.faults.on(Fault::ServerTrouble) && self.hook_rng.chance(self.faults.rate);
        let state = if trouble {
            JobState::Unavailable {
                error: "no answer".to_owned(),
            }
        } else {
            self.look_at_job(&id)
        };
        let ended = match state {
            JobState::Succeeded | JobState::Failed { .. } => true,
            JobState::Running { .. } | JobState::Unavailable { .. } => false,
        };
        if !ended {
            let pause = self.hook_rng.between(200, 10_000);
            self.after(pause, Event::HookJob(operator, number, index));
        }
        let known = &mut self.operators[operator];
        known.view.refresh(&known.progress);
        known.view.set_hook_job(index, Some(JobReport { id, state }));
        self.wake(operator, 0);
    }

    /// The Job of a run, which is created if it does not exist.
    fn look_at_job(&mut self, id: &str) -> JobState {
        let (at, quiet, rng) = (self.at, self.quiet, &mut self.hook_rng);
        let job = *self.hook_jobs.0.entry(id.to_owned()).or_insert_with(|| Job {
            ends: at + rng.pick(&[1_000, 20_000, 20_000, 200_000, 900_000]),
            fails: !quiet && rng.chance(200),
        });
        if at < job.ends {
            return JobState::Running { job: id.to_owned() };
        }
        if job.fails {
            return JobState::Failed {
                message: format!("Job {id} failed"),
            };
        }
        self.cluster.hooks.succeeded.insert(id.to_owned());
        JobState::Succeeded
    }
}

impl Hooks {
    /// The first of these hooks that has not succeeded in any attempt of the operation, and may not be left out.
    fn missing<'a>(&self, operation: &Operation, point: HookPoint, hooks: &'a [Hook]) -> Option<&'a Hook> {
        let has_succeeded = |hook: &Hook| {
            let run = |attempt| format!("{}-{attempt}/{}/{}", operation.id, point.as_str(), hook.name);
            (0..=operation.attempt).any(|attempt| self.succeeded.contains(&run(attempt)))
        };
        let mut hooks = hooks.iter();
        hooks.find(|hook| !hook.ignores_failure && !has_succeeded(hook))
    }
}

impl Judge {
    /// S3: the hooks before the reboot have succeeded when it is ordered for the first time.
    pub fn hooks_before(&mut self, cluster: &Cluster, node: usize) {
        let Some(operation) = cluster
            .operation(node)
            .filter(|operation| operation.phase == Phase::Draining)
        else {
            return;
        };
        let hooks = &operation.settings.hooks;
        let drain = cluster
            .hooks
            .missing(operation, HookPoint::BeforeDrain, &hooks.before_drain);
        let reboot = || {
            cluster
                .hooks
                .missing(operation, HookPoint::BeforeReboot, &hooks.before_reboot)
        };
        let (missing, name) = (drain.or_else(reboot), &cluster.names[node]);
        self.demand(missing.is_none(), "S3", || {
            format!("{name} is ordered to reboot before its hooks have succeeded")
        });
    }

    /// A node is uncordoned after its reboot only once the hooks after it have succeeded.
    pub fn hooks_after(&mut self, cluster: &Cluster, node: usize) {
        let verified =
            |operation: &&Operation| operation.phase == Phase::Verifying && operation.pending_outcome.is_none();
        let Some(operation) = cluster.operation(node).filter(verified) else {
            return;
        };
        let hooks = &operation.settings.hooks.after_reboot;
        let missing = cluster.hooks.missing(operation, HookPoint::AfterReboot, hooks);
        let name = &cluster.names[node];
        self.demand(missing.is_none(), "hooks", || {
            format!("{name} is uncordoned before the hooks after its reboot have succeeded")
        });
    }
}
