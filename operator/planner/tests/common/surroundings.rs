//! Agents, kubelets and pods, one step at a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::World;

impl World {
    /// The operator evaluates the checks that the plan asks for in rounds, one every 15 s.
    pub(super) fn evaluate_checks(
        &mut self,
        asked: &BTreeMap<PolicyName, BTreeSet<String>>,
        jobs: &BTreeMap<String, CheckJobs>,
    ) {
        let now = self.now;
        for (name, policy) in &mut self.snapshot.policies {
            let Some(checks) = &mut policy.checks else { continue };
            let (Some(nodes), Some(cluster)) = (asked.get(name), &self.checks) else {
                checks.round = None;
                continue;
            };
            let is_due = |round: &CheckRound| {
                round.started + TimeDelta::seconds(15) <= now
                    || nodes.iter().any(|node| !round.nodes.contains_key(node))
                    || nodes.iter().any(|node| round.jobs.get(node) != jobs.get(node))
            };
            if checks.round.as_ref().is_none_or(is_due) {
                let has_jobs = checks.before_jobs.is_some() || checks.after_jobs;
                let of_node = |node: &String| {
                    let mut results = self.node_checks.get(node).cloned().unwrap_or_default();
                    let job = jobs.get(node).filter(|_| has_jobs).map(|jobs| {
                        let known = self.job_verdicts.iter().find(|(known, _)| known == jobs);
                        let running = || CheckVerdict::Running("Job fsck has not finished".to_owned());
                        CheckResult {
                            stage: jobs.stage,
                            name: "fsck".to_owned(),
                            job: true,
                            verdict: known.map_or_else(running, |(_, verdict)| verdict.clone()),
                        }
                    });
                    results.extend(job);
                    results
                };
                let asked = |node: &&String| jobs.contains_key(*node);
                let jobs_of = nodes
                    .iter()
                    .filter(asked)
                    .map(|node| (node.clone(), jobs[node].clone()));
                checks.round = Some(CheckRound {
                    started: now,
                    cluster: cluster.clone(),
                    nodes: nodes.iter().map(|node| (node.clone(), of_node(node))).collect(),
                    jobs: jobs_of.collect(),
                });
            }
        }
    }

    /// Agents answer, pods leave, hosts go down and come back.
    pub fn surroundings(&mut self) {
        let now = self.now;
        for name in self.snapshot.nodes.keys().cloned().collect::<Vec<_>>() {
            if self.silent.contains(&name) {
                continue;
            }
            let (refuses, blocked) = (self.refusing.contains(&name), self.blocked.contains(&name));
            let never_back = self.never_back.contains(&name);
            let leaving = self.leaving.contains(&name);
            let boot_id = self.node(&name).boot_id.clone();
            let Some(record) = self.node(&name).record.as_mut() else {
                continue;
            };
            record.host.get_or_insert_with(|| Host {
                boot_id,
                confinement: Confinement::Confined,
                ..Host::default()
            });
            let Some(order) = record.order.clone() else { continue };
            let node = self.node(&name);
            let operation = node.operation().filter(|op| op.phase == Phase::Draining);
            let operation = operation.filter(|op| leaving || has_had_notice(op, now));
            let drain = operation.map(|op| (name.clone(), op.order_id(), op.stage.is_some()));
            if let Some(drain) = drain.filter(|_| node.cordoned_for.is_some()) {
                let since = *self.drains.entry(drain).or_insert(now);
                let node = self.snapshot.nodes.get_mut(&name).unwrap();
                node.drain_details.evicting_for = now - since;
                node.drain_details.running_for = now - since;
                let waiting = WaitReason::EvictionBlocked {
                    message: "pod shop/db-0: budget shop/db allows 0".to_owned(),
                };
                node.drain = if blocked {
                    Drain::Running {
                        moved: 1,
                        waiting: Some(waiting),
                    }
                } else {
                    Drain::Done { moved: 3 }
                };
            }
            let node = self.node(&name);
            if !node.ready.ready
                || node
                    .record
                    .as_ref()
                    .unwrap()
                    .host
                    .as_ref()
                    .is_none_or(|h| h.boot_id != order.boot_id)
            {
                continue;
            }
            let state = match (order.action, refuses) {
                (_, true) => AnswerState::Refused,
                (OrderAction::Prepare, false) => AnswerState::Ready,
                (OrderAction::Reboot, false) => AnswerState::Rebooting,
            };
            let reboots = state == AnswerState::Rebooting;
            let message = if refuses {
                "polkit asks for a password".to_owned()
            } else {
                String::new()
            };
            let host = self.record(&name).host.as_mut().unwrap();
            host.answer = Some(HostAnswer {
                id: order.id,
                state,
                message,
            });
            if reboots {
                let node = self.node(&name);
                node.ready = Ready {
                    ready: false,
                    since: now,
                    heartbeat: now,
                    message: "down".to_owned(),
                };
                if !never_back {
                    let back = now + self.away;
                    self.coming.push((name, back));
                }
            }
        }
        let due: Vec<String> = self
            .coming
            .iter()
            .filter(|(_, at)| *at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        self.coming.retain(|(_, at)| *at > now);
        for name in due {
            let order = self.record(&name).order.as_ref();
            if order.is_some_and(|order| order.method == RebootMethod::SoftReboot) {
                self.soft_reboot(&name);
            } else {
                self.boot(&name);
            }
        }
    }

    /// The userspace of the host starts again in the same boot; nothing asks for a reboot any more.
    pub fn soft_reboot(&mut self, name: &str) {
        let now = self.now;
        let node = self.node(name);
        node.ready = Ready {
            ready: true,
            since: now,
            heartbeat: now,
            message: "KubeletReady".to_owned(),
        };
        node.drain = Drain::NotStarted;
        let host = node.record.as_mut().unwrap().host.as_mut().unwrap();
        let count = host.soft_reboots.map_or(0, |soft_reboots| soft_reboots.count);
        host.soft_reboots = Some(SoftReboots {
            count: count + 1,
            last: Some(now),
        });
        (host.required, host.userspace_only) = (false, false);
        (host.required_since, host.reasons) = (None, vec![]);
    }

    /// The host comes up with a new boot; nothing asks for a reboot any more.
    pub fn boot(&mut self, name: &str) {
        self.boots += 1;
        let (now, boot_id) = (self.now, BootId::from(format!("boot-{name}-{}", self.boots)));
        let node = self.node(name);
        node.boot_id.clone_from(&boot_id);
        node.ready = Ready {
            ready: true,
            since: now,
            heartbeat: now,
            message: "KubeletReady".to_owned(),
        };
        node.drain = Drain::NotStarted;
        let host = node.record.as_mut().unwrap().host.as_mut().unwrap();
        *host = Host {
            boot_id,
            boot_time: Some(now),
            kernel: "6.1.0-28".to_owned(),
            confinement: Confinement::Confined,
            ..Host::default()
        };
    }
}

/// Whether pods may be evicted as far as the notice is concerned.
fn has_had_notice(operation: &Operation, now: Instant) -> bool {
    !operation.awaits_notice() && operation.notice_ends().is_none_or(|ends| ends <= now)
}
