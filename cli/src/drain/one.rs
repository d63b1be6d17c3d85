//! One node that has our marks: the engine runs, people read along, and its end is put in words.

use std::time::Duration;

use lockkeeper_drain::{Blocker, Cause, Progress, Settings};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::follow::Follower;
use super::picture::{PodNow, Why};
use super::stop::Stop;
use crate::connect::Cluster;
use crate::failure::{Exit, chain};
use crate::moment::Moment;

/// How the drain of one node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    /// Nothing is left that has to leave; the marks stay.
    Drained,
    /// The time was over first.
    TimedOut,
    /// Nothing was done, as it could not be emptied.
    Blocked,
    /// Somebody else holds the node.
    Refused,
    /// Somebody pressed Ctrl-C.
    Stopped,
    /// Something went wrong.
    Failed,
    /// Another node's end kept this one from its turn.
    NotStarted,
}

impl Outcome {
    /// The exit code, unless it is well.
    pub(crate) fn exit(self) -> Option<Exit> {
        match self {
            Self::Drained => None,
            Self::TimedOut => Some(Exit::TimedOut),
            Self::Blocked => Some(Exit::Blocked),
            Self::Refused => Some(Exit::Refused),
            Self::Stopped | Self::Failed | Self::NotStarted => Some(Exit::Error),
        }
    }
}

/// One node of `drain -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) node: String,
    /// None where the defaults count.
    pub(crate) policy: Option<String>,
    pub(crate) result: Outcome,
    pub(crate) message: String,
    pub(crate) seconds: f64,
    /// Pods that have left.
    pub(crate) moved: usize,
    /// Pods that stay and run.
    pub(crate) stayed: usize,
    /// Pods of `moved` that kept data in an `emptyDir`.
    pub(crate) with_empty_dir: usize,
    /// Volumes that were still attached when the time to wait for them was over.
    pub(crate) still_attached: Vec<String>,
    pub(crate) pods: Vec<PodNow>,
    pub(crate) blockers: Vec<Why>,
}

impl Report {
    /// The end of a node on which nothing was done.
    pub(crate) fn untouched(node: &str, policy: Option<String>, result: Outcome, message: String) -> Self {
        Self {
            node: node.to_owned(),
            policy,
            result,
            message,
            seconds: 0.0,
            moved: 0,
            stayed: 0,
            with_empty_dir: 0,
            still_attached: Vec::new(),
            pods: Vec::new(),
            blockers: Vec::new(),
        }
    }
}

/// What ended the engine's run.
enum End {
    Engine(Result<(), lockkeeper_drain::Error>),
    Uncordoned,
    Time,
    Stop,
}

/// Empties the node and tells `say` what happens; dropping the engine stops its requests.
pub(crate) async fn empty(
    cluster: &Cluster,
    settings: Settings,
    limit: Duration,
    stop: &mut Stop,
    say: &mut dyn FnMut(&str),
) -> Report {
    let node = settings.node.clone();
    let begin = Instant::now();
    let (to, mut progress) = watch::channel(Progress::Starting);
    let mut follower = Follower::default();
    let end = {
        let mut engine = std::pin::pin!(lockkeeper_drain::drain(cluster.client.clone(), settings, to));
        let mut over = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            tokio::select! {
                ended = &mut engine => break End::Engine(ended),
                () = &mut over => break End::Time,
                () = stop.asked() => break End::Stop,
                Ok(()) = progress.changed() => {
                    let now = progress.borrow_and_update().clone();
                    follower.lines(&now, &Moment::now()).iter().for_each(|line| say(line));
                    if is_uncordoned(&now) {
                        break End::Uncordoned;
                    }
                }
            }
        }
    };
    let last = progress.borrow().clone();
    follower.lines(&last, &Moment::now()).iter().for_each(|line| say(line));
    let mut report = Report::untouched(&node, None, Outcome::Failed, String::new());
    report.seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    report.pods = follower.pods.iter().map(PodNow::from).collect();
    fill(&mut report, &last);
    (report.result, report.message) = match end {
        End::Engine(Ok(())) => (Outcome::Drained, drained(&report)),
        End::Engine(Err(error)) => (Outcome::Failed, format!("{node} is not drained: {}", chain(&error))),
        End::Uncordoned => (
            Outcome::Failed,
            format!("{node} is not drained: somebody uncordoned it meanwhile"),
        ),
        End::Time => (
            Outcome::TimedOut,
            format!("{node} is not drained after {} s: {}", limit.as_secs(), left(&last)),
        ),
        End::Stop => (
            Outcome::Stopped,
            format!("{node} is not drained: stopped; {}", left(&last)),
        ),
    };
    report
}

fn is_uncordoned(progress: &Progress) -> bool {
    let Progress::Running { waiting_on, .. } = progress else {
        return false;
    };
    let uncordoned = |cause: &Cause| matches!(cause.blocker, Blocker::Uncordoned { .. });
    waiting_on.iter().any(uncordoned)
}

/// The numbers of the last progress.
fn fill(report: &mut Report, last: &Progress) {
    match last {
        Progress::Starting => {}
        Progress::Running {
            moved,
            with_empty_dir,
            waiting_on,
            ..
        } => {
            (report.moved, report.with_empty_dir) = (*moved, *with_empty_dir);
            report.blockers = waiting_on.iter().map(Why::from).collect();
        }
        Progress::Done {
            moved,
            stayed,
            with_empty_dir,
            still_attached,
        } => {
            (report.moved, report.stayed, report.with_empty_dir) = (*moved, *stayed, *with_empty_dir);
            report.still_attached.clone_from(still_attached);
        }
    }
}

/// `w-02 is drained in 12 s: 23 pods left it, 4 stay`, and what was lost or is left.
fn drained(report: &Report) -> String {
    let pods = if report.moved == 1 { "pod" } else { "pods" };
    let stay = match report.stayed {
        0 => String::new(),
        1 => ", 1 stays".to_owned(),
        more => format!(", {more} stay"),
    };
    let mut parts = vec![format!(
        "{} is drained in {:.0} s: {} {pods} left it{stay}",
        report.node, report.seconds, report.moved
    )];
    if report.with_empty_dir > 0 {
        parts.push(format!(
            "data in the emptyDirs of {} is gone with them",
            report.with_empty_dir
        ));
    }
    if !report.still_attached.is_empty() {
        parts.push(format!("still attached: {}", report.still_attached.join(", ")));
    }
    parts.join("; ")
}

/// How many pods are there, and why.
fn left(last: &Progress) -> String {
    match last {
        Progress::Starting => "its pods were not seen yet".to_owned(),
        Progress::Running { left, waiting_on, .. } => {
            let pods = if *left == 1 { "pod is" } else { "pods are" };
            let moment = Moment::now();
            let causes = waiting_on.iter().map(|cause| moment.localise(&cause.to_string()));
            let causes: Vec<String> = causes.collect();
            match &causes[..] {
                [] => format!("{left} {pods} left"),
                causes => format!("{left} {pods} left: {}", causes.join("; ")),
            }
        }
        Progress::Done { .. } => "no pod is left".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{PodName, group};

    use super::*;

    fn report(moved: usize, stayed: usize, with_empty_dir: usize, still_attached: Vec<String>) -> Report {
        let mut report = Report::untouched("w-02", None, Outcome::Drained, String::new());
        report.seconds = 12.3;
        let done = Progress::Done {
            moved,
            stayed,
            with_empty_dir,
            still_attached,
        };
        fill(&mut report, &done);
        report
    }

    #[test]
    fn the_end_is_said_with_numbers_and_what_was_lost() {
        let lines = [
            drained(&report(23, 4, 0, vec![])),
            drained(&report(1, 1, 0, vec![])),
            drained(&report(3, 0, 2, vec!["pv-7".to_owned()])),
        ];
        expect_test::expect![[r#"
            w-02 is drained in 12 s: 23 pods left it, 4 stay
            w-02 is drained in 12 s: 1 pod left it, 1 stays
            w-02 is drained in 12 s: 3 pods left it; data in the emptyDirs of 2 is gone with them; still attached: pv-7
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn what_is_left_is_said_with_its_reasons() {
        let pet = Blocker::Unmanaged {
            pod: PodName::new("shop", "pet"),
        };
        let running = |blockers| Progress::Running {
            to_move: 2,
            moved: 1,
            left: 1,
            with_empty_dir: 0,
            later: vec![],
            waiting_on: group(blockers),
            pods: vec![],
        };
        let lines = [
            left(&running(vec![pet])),
            left(&running(vec![])),
            left(&Progress::Starting),
        ];
        expect_test::expect![[r#"
            1 pod is left: pod shop/pet: no controller would create it again (the policy's drain.unmanagedPods is Block)
            1 pod is left
            its pods were not seen yet
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
        let node = "w-02".to_owned();
        assert!(is_uncordoned(&running(vec![Blocker::Uncordoned { node }])));
    }

    #[test]
    fn every_end_has_its_exit_code() {
        let exits = [
            Outcome::Drained,
            Outcome::TimedOut,
            Outcome::Blocked,
            Outcome::Refused,
            Outcome::Stopped,
        ];
        let exits = exits.map(Outcome::exit);
        let expected = [
            None,
            Some(Exit::TimedOut),
            Some(Exit::Blocked),
            Some(Exit::Refused),
            Some(Exit::Error),
        ];
        assert_eq!(exits, expected);
    }
}
