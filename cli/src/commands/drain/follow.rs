//! The progress of a drain in lines: one for each change of a pod.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_drain::{Blocker, PodLine, PodName, PodState, Progress};

use crate::clock::DisplayClock;

/// What has been printed so far.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    printed: BTreeMap<PodName, String>,
    /// Causes that concern no single pod.
    general: BTreeSet<String>,
    /// The pods as they were last observed.
    pub(crate) pods: Vec<PodLine>,
}

impl Follower {
    /// The lines that are new.
    pub(crate) fn lines(&mut self, progress: &Progress, clock: &DisplayClock) -> Vec<String> {
        match progress {
            Progress::Starting => Vec::new(),
            Progress::Running {
                pods,
                waiting_on,
                returning,
                ..
            } => {
                self.pods.clone_from(pods);
                let mut lines: Vec<String> = pods.iter().filter_map(|pod| self.pod(pod, clock)).collect();
                let general = waiting_on.iter().filter(|cause| cause.pods.is_empty());
                let mut general: BTreeSet<String> = general.map(|cause| clock.localize(&cause.to_string())).collect();
                general.extend(returning.iter().map(ToString::to_string));
                lines.extend(general.difference(&self.general).cloned());
                self.general = general;
                lines
            }
            Progress::Done { .. } => {
                // The remaining pods have gone since the last progress.
                for pod in &mut self.pods {
                    pod.state = match pod.state {
                        PodState::Stays(stays) => PodState::Stays(stays),
                        PodState::Later | PodState::Waiting | PodState::Asked | PodState::Leaving | PodState::Gone => {
                            PodState::Gone
                        }
                    };
                }
                let pods = self.pods.clone();
                pods.iter().filter_map(|pod| self.pod(pod, clock)).collect()
            }
        }
    }

    /// The line for one pod, unless it was printed before.
    fn pod(&mut self, pod: &PodLine, clock: &DisplayClock) -> Option<String> {
        let (key, line) = match pod.state {
            PodState::Stays(_) | PodState::Later | PodState::Asked => return None,
            PodState::Gone => ("gone".to_owned(), format!("pod {} is gone", pod.pod)),
            PodState::Waiting | PodState::Leaving => match &pod.blockers[..] {
                [] if pod.state == PodState::Leaving => {
                    ("leaving".to_owned(), format!("pod {} is terminating", pod.pod))
                }
                [] => return None,
                blockers => (key(blockers), messages(blockers, clock)),
            },
        };
        let is_new = self.printed.get(&pod.pod) != Some(&key);
        is_new.then(|| {
            self.printed.insert(pod.pod.clone(), key);
            line
        })
    }
}

/// The part of the causes whose change is printed; a change of numbers alone is not.
fn key(blockers: &[Blocker]) -> String {
    let keys = blockers.iter().map(|blocker| match blocker {
        Blocker::Budget {
            budget: Some(budget), ..
        } => format!("budget {budget}"),
        Blocker::Terminating { .. } => "leaving".to_owned(),
        blocker => blocker.to_string(),
    });
    keys.collect::<Vec<_>>().join("; ")
}

fn messages(blockers: &[Blocker], clock: &DisplayClock) -> String {
    let messages = blockers.iter().map(|blocker| clock.localize(&blocker.to_string()));
    messages.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{BudgetNumbers, BudgetOutlook, StayReason, Tier};

    use super::*;
    use crate::fixture::{clock, time};

    fn running(pods: Vec<PodLine>) -> Progress {
        Progress::Running {
            to_move: pods.len(),
            moved: 0,
            remaining: pods.len(),
            with_empty_dir: 0,
            waiting_tiers: Vec::new(),
            evicting: true,
            grace_ends: None,
            returning: Vec::new(),
            waiting_on: Vec::new(),
            pods,
        }
    }

    fn pod(name: &str, state: PodState, blockers: Vec<Blocker>) -> PodLine {
        PodLine {
            pod: PodName::new("shop", name),
            tier: Tier::default(),
            state,
            blockers,
        }
    }

    fn budget(healthy: i32) -> Blocker {
        Blocker::Budget {
            pod: PodName::new("shop", "db-0"),
            budget: Some(PodName::new("shop", "db")),
            numbers: Some(BudgetNumbers {
                allowed: 0,
                healthy,
                desired: 3,
                total: 4,
            }),
            outlook: BudgetOutlook::MayAllow,
            message: String::new(),
        }
    }

    #[test]
    fn each_pod_is_printed_with_its_cause_and_no_line_twice() {
        let clock = clock("2026-11-24T22:00:00Z");
        let shutting = Blocker::Terminating {
            pod: PodName::new("shop", "web-0"),
            until: time("2026-11-24T22:00:30Z"),
            grace: 30,
        };
        let mut follower = Follower::default();
        let mut lines = Vec::new();
        for progress in [
            Progress::Starting,
            running(vec![
                pod("web-0", PodState::Asked, vec![]),
                pod("db-0", PodState::Waiting, vec![budget(2)]),
                pod("agent", PodState::Stays(StayReason::DaemonSet), vec![]),
            ]),
            running(vec![
                pod("web-0", PodState::Leaving, vec![shutting]),
                pod("db-0", PodState::Waiting, vec![budget(3)]),
                pod("agent", PodState::Stays(StayReason::DaemonSet), vec![]),
            ]),
            running(vec![
                pod("web-0", PodState::Gone, vec![]),
                pod("db-0", PodState::Leaving, vec![]),
                pod("agent", PodState::Stays(StayReason::DaemonSet), vec![]),
            ]),
            Progress::Done {
                moved: 2,
                stayed: 1,
                with_empty_dir: 0,
                still_attached: vec![],
                returning: vec![],
            },
        ] {
            lines.extend(follower.lines(&progress, &clock));
        }
        expect_test::expect![[r#"
            pod shop/db-0: budget shop/db allows 0 disruptions (2 of 4 ready, 3 needed)
            pod shop/web-0 is shutting down; its grace period of 30 s ends at 22:00 (in 30 s)
            pod shop/web-0 is gone
            pod shop/db-0 is terminating
            pod shop/db-0 is gone
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
        assert_eq!(follower.pods[1].state, PodState::Gone);
    }

    #[test]
    fn a_cause_without_a_pod_is_printed_once_and_again_when_it_returns() {
        let unavailable = lockkeeper_drain::group_by_cause(vec![Blocker::ApiUnavailable {
            message: "connection refused".to_owned(),
        }]);
        let mut failing = running(vec![]);
        if let Progress::Running { waiting_on, .. } = &mut failing {
            *waiting_on = unavailable;
        }
        let clock = clock("2026-11-24T22:00:00Z");
        let mut follower = Follower::default();
        let count = |follower: &mut Follower, progress: &Progress| follower.lines(progress, &clock).len();
        assert_eq!(count(&mut follower, &failing), 1);
        assert_eq!(count(&mut follower, &failing), 0);
        assert_eq!(count(&mut follower, &running(vec![])), 0);
        assert_eq!(count(&mut follower, &failing), 1);
    }
}
