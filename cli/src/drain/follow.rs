//! A running drain in lines: one for each pod and each thing that happens to it.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_drain::{Blocker, PodLine, PodName, PodState, Progress};

use crate::moment::Moment;

/// What has been said so far.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    said: BTreeMap<PodName, String>,
    others: BTreeSet<String>,
    /// The pods as they were last seen.
    pub(crate) pods: Vec<PodLine>,
}

impl Follower {
    /// The lines that are new.
    pub(crate) fn lines(&mut self, progress: &Progress, moment: &Moment) -> Vec<String> {
        match progress {
            Progress::Starting => Vec::new(),
            Progress::Running { pods, waiting_on, .. } => {
                self.pods.clone_from(pods);
                let mut lines: Vec<String> = pods.iter().filter_map(|pod| self.pod(pod, moment)).collect();
                let about_none = waiting_on.iter().filter(|cause| cause.pods.is_empty());
                let others: BTreeSet<String> = about_none.map(|cause| moment.localise(&cause.to_string())).collect();
                lines.extend(others.difference(&self.others).cloned());
                self.others = others;
                lines
            }
            Progress::Done { .. } => {
                // The last ones went between two looks.
                for pod in &mut self.pods {
                    pod.state = match pod.state {
                        PodState::Stays(stays) => PodState::Stays(stays),
                        PodState::Later | PodState::Waiting | PodState::Asked | PodState::Leaving | PodState::Gone => {
                            PodState::Gone
                        }
                    };
                }
                let pods = self.pods.clone();
                pods.iter().filter_map(|pod| self.pod(pod, moment)).collect()
            }
        }
    }

    /// The line for one pod, unless the same was said before.
    fn pod(&mut self, pod: &PodLine, moment: &Moment) -> Option<String> {
        let (key, line) = match pod.state {
            PodState::Stays(_) | PodState::Later | PodState::Asked => return None,
            PodState::Gone => ("gone".to_owned(), format!("pod {} is gone", pod.pod)),
            PodState::Waiting | PodState::Leaving => match &pod.why[..] {
                [] if pod.state == PodState::Leaving => ("leaving".to_owned(), format!("pod {} is leaving", pod.pod)),
                [] => return None,
                why => (key(why), words(why, moment)),
            },
        };
        let new = self.said.get(&pod.pod) != Some(&key);
        new.then(|| {
            self.said.insert(pod.pod.clone(), key);
            line
        })
    }
}

/// Numbers that change are no news about the pod.
fn key(why: &[Blocker]) -> String {
    let keys = why.iter().map(|blocker| match blocker {
        Blocker::Budget {
            budget: Some(budget), ..
        } => format!("budget {budget}"),
        Blocker::Terminating { .. } => "leaving".to_owned(),
        blocker => blocker.to_string(),
    });
    keys.collect::<Vec<_>>().join("; ")
}

fn words(why: &[Blocker], moment: &Moment) -> String {
    let words = why.iter().map(|blocker| moment.localise(&blocker.to_string()));
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{Numbers, Stays, Tier};

    use super::*;
    use crate::fixture::{moment, time};

    fn running(pods: Vec<PodLine>) -> Progress {
        Progress::Running {
            to_move: pods.len(),
            moved: 0,
            left: pods.len(),
            with_empty_dir: 0,
            later: Vec::new(),
            waiting_on: Vec::new(),
            pods,
        }
    }

    fn pod(name: &str, state: PodState, why: Vec<Blocker>) -> PodLine {
        PodLine {
            pod: PodName::new("shop", name),
            tier: Tier::default(),
            state,
            why,
        }
    }

    fn budget(healthy: i32) -> Blocker {
        Blocker::Budget {
            pod: PodName::new("shop", "db-0"),
            budget: Some(PodName::new("shop", "db")),
            numbers: Some(Numbers {
                allowed: 0,
                healthy,
                desired: 3,
                total: 4,
            }),
            message: String::new(),
        }
    }

    #[test]
    fn each_pod_is_told_with_its_reason_and_nothing_twice() {
        let moment = moment("2026-11-24T22:00:00Z");
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
                pod("agent", PodState::Stays(Stays::DaemonSet), vec![]),
            ]),
            running(vec![
                pod("web-0", PodState::Leaving, vec![shutting]),
                pod("db-0", PodState::Waiting, vec![budget(3)]),
                pod("agent", PodState::Stays(Stays::DaemonSet), vec![]),
            ]),
            running(vec![
                pod("web-0", PodState::Gone, vec![]),
                pod("db-0", PodState::Leaving, vec![]),
                pod("agent", PodState::Stays(Stays::DaemonSet), vec![]),
            ]),
            Progress::Done {
                moved: 2,
                stayed: 1,
                with_empty_dir: 0,
                still_attached: vec![],
            },
        ] {
            lines.extend(follower.lines(&progress, &moment));
        }
        expect_test::expect![[r#"
            pod shop/db-0: budget shop/db allows 0 disruptions (2 of 4 ready, 3 needed)
            pod shop/web-0 is shutting down, its 30 s grace ends 22:00 (in 30 s)
            pod shop/web-0 is gone
            pod shop/db-0 is leaving
            pod shop/db-0 is gone
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
        assert_eq!(follower.pods[1].state, PodState::Gone);
    }

    #[test]
    fn what_is_about_no_pod_is_told_once_and_again_when_it_comes_back() {
        let away = lockkeeper_drain::group(vec![Blocker::ApiUnavailable {
            message: "connection refused".to_owned(),
        }]);
        let mut trouble = running(vec![]);
        if let Progress::Running { waiting_on, .. } = &mut trouble {
            *waiting_on = away;
        }
        let moment = moment("2026-11-24T22:00:00Z");
        let mut follower = Follower::default();
        let count = |follower: &mut Follower, progress: &Progress| follower.lines(progress, &moment).len();
        assert_eq!(count(&mut follower, &trouble), 1);
        assert_eq!(count(&mut follower, &trouble), 0);
        assert_eq!(count(&mut follower, &running(vec![])), 0);
        assert_eq!(count(&mut follower, &trouble), 1);
    }
}
