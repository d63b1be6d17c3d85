//! The sentences of `drain`.

use lockkeeper_drain::Progress;

use super::cordon::Uncordoned;
use super::result::NodeResult;
use crate::clock::DisplayClock;
use crate::render::counted;

/// `23 pods to evict, 4 stay`.
pub(crate) fn move_summary((leaving, staying): (usize, usize)) -> String {
    format!("{} to evict{}", counted(leaving, "pod"), stays(staying))
}

fn stays(number: usize) -> String {
    match number {
        0 => String::new(),
        1 => ", 1 stays".to_owned(),
        more => format!(", {more} stay"),
    }
}

pub(crate) fn cordoned(node: &str, source: &str, counts: (usize, usize)) -> String {
    format!("{node} is cordoned, under {source}: {}", move_summary(counts))
}

/// The node has a pod that could never be evicted.
pub(crate) fn blocked(node: &str, source: &str, causes: &[String]) -> String {
    format!(
        "{node} cannot be drained, under {source}: {}; nothing was changed; to show each pod: \
         kubectl lockkeeper drain --dry-run {node}",
        causes.join("; ")
    )
}

/// Another node of the same run is blocked.
pub(crate) fn unchanged(node: &str) -> String {
    format!("{node} was not changed either")
}

/// Another node of the same dry run or report ended it.
pub(crate) fn not_checked(node: &str) -> String {
    format!("{node} was not checked")
}

/// Another node of the same run could not be cordoned, or the run was stopped.
pub(crate) fn not_started(node: &str) -> String {
    format!("{node} is not drained; nothing was evicted")
}

/// Follows the sentence about a drained node.
pub(crate) fn stays_cordoned(node: &str) -> String {
    format!("; it stays cordoned; when you are done: kubectl lockkeeper drain --cancel {node}")
}

/// Follows the sentence about a drained node that is schedulable again.
pub(crate) const UNCORDONED_MEANWHILE: &str =
    ", but another client has uncordoned it, so that new pods may be scheduled to it";

/// Follows the sentence about a node that was not drained.
pub(crate) fn cordon_of_earlier_run(node: &str) -> String {
    format!(
        "; an earlier run cordoned it, so it stays cordoned; to uncordon it: kubectl lockkeeper drain --cancel {node}"
    )
}

/// Follows the sentence about a node that was not drained.
pub(crate) fn after_failure(uncordoned: Uncordoned) -> &'static str {
    match uncordoned {
        Uncordoned::Schedulable => "; uncordoned again",
        Uncordoned::CordonedByOther => "; uncordoned by this command, but the cordon of another client stays",
        Uncordoned::Deleted => "; the node has been deleted",
    }
}

/// The line of `drain --cancel`.
pub(crate) fn cancelled(node: &str, uncordoned: Option<Uncordoned>) -> String {
    match uncordoned {
        None => format!("{node}: not cordoned by this command; nothing changed"),
        Some(Uncordoned::Schedulable) => format!("{node}: uncordoned"),
        Some(Uncordoned::CordonedByOther) => format!(
            "{node}: uncordoned by this command, but the cordon of another client stays; to remove it: \
             kubectl uncordon {node}"
        ),
        Some(Uncordoned::Deleted) => format!("{node}: the node has been deleted"),
    }
}

/// `w-02 is drained in 12 s: 23 pods evicted, 4 stay`, and which data was lost or which volumes are left.
pub(crate) fn drained(result: &NodeResult) -> String {
    let mut parts = vec![format!(
        "{} is drained in {:.0} s: {} evicted{}",
        result.node,
        result.seconds,
        counted(result.moved, "pod"),
        stays(result.stayed)
    )];
    if result.with_empty_dir > 0 {
        parts.push(format!(
            "the emptyDir data of {} is lost",
            counted(result.with_empty_dir, "pod")
        ));
    }
    if !result.still_attached.is_empty() {
        parts.push(format!("volumes still attached: {}", result.still_attached.join(", ")));
    }
    parts.join("; ")
}

/// How many pods remain, and why.
pub(crate) fn remaining(last: &Progress, clock: &DisplayClock) -> String {
    match last {
        Progress::Starting => "its pods were not listed yet".to_owned(),
        Progress::Running {
            remaining, waiting_on, ..
        } => {
            let remain = if *remaining == 1 { "remains" } else { "remain" };
            let pods = counted(*remaining, "pod");
            let causes = waiting_on.iter().map(|cause| clock.localize(&cause.to_string()));
            match causes.collect::<Vec<_>>().join("; ").as_str() {
                "" => format!("{pods} {remain}"),
                causes => format!("{pods} {remain}: {causes}"),
            }
        }
        Progress::Done { .. } => "no pod remains".to_owned(),
    }
}

pub(crate) fn timed_out(node: &str, seconds: u64, last: &Progress, clock: &DisplayClock) -> String {
    format!(
        "{node} is not drained: timed out after {seconds} s; {}",
        remaining(last, clock)
    )
}

pub(crate) fn stopped(node: &str, last: &Progress, clock: &DisplayClock) -> String {
    format!("{node} is not drained: stopped; {}", remaining(last, clock))
}

pub(crate) fn uncordoned_by_other(node: &str) -> String {
    format!("{node} is not drained: another client uncordoned it")
}

/// The first Ctrl-C.
pub(crate) const STOPPING: &str = "stopping: no more pods are evicted and the nodes are uncordoned; \
                                   press Ctrl-C again to end at once";
/// The second Ctrl-C.
pub(crate) const STOPPED_AT_ONCE: &str = "stopped at once; nodes may still be cordoned; to uncordon them: \
                                          kubectl lockkeeper drain --cancel NODE";
/// Ctrl-C before the first eviction.
pub(crate) const STOPPED_EARLY: &str = "stopped; nothing was evicted";

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{Blocker, PodName, group_by_cause};

    use super::*;
    use crate::commands::drain::result::Outcome;
    use crate::fixture::clock;

    fn result(moved: usize, stayed: usize, with_empty_dir: usize, still_attached: Vec<String>) -> NodeResult {
        NodeResult {
            seconds: 12.3,
            moved,
            stayed,
            with_empty_dir,
            still_attached,
            ..NodeResult::unchanged("w-02", None, Outcome::Drained, String::new())
        }
    }

    #[test]
    fn a_drained_node_is_shown_with_numbers_and_lost_data() {
        let lines = [
            drained(&result(23, 4, 0, vec![])),
            drained(&result(1, 1, 0, vec![])),
            drained(&result(3, 0, 2, vec!["pv-7".to_owned()])),
        ];
        expect_test::expect![[r#"
            w-02 is drained in 12 s: 23 pods evicted, 4 stay
            w-02 is drained in 12 s: 1 pod evicted, 1 stays
            w-02 is drained in 12 s: 3 pods evicted; the emptyDir data of 2 pods is lost; volumes still attached: pv-7
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn remaining_pods_are_shown_with_their_causes() {
        let clock = clock("2026-11-24T22:00:00Z");
        let pet = Blocker::Unmanaged {
            pod: PodName::new("shop", "pet"),
        };
        let running = |blockers| Progress::Running {
            to_move: 2,
            moved: 1,
            remaining: 1,
            with_empty_dir: 0,
            waiting_tiers: vec![],
            evicting: true,
            grace_ends: None,
            returning: Vec::new(),
            waiting_on: group_by_cause(blockers),
            pods: vec![],
        };
        let lines = [
            remaining(&running(vec![pet]), &clock),
            remaining(&running(vec![]), &clock),
            remaining(&Progress::Starting, &clock),
        ];
        expect_test::expect![[r#"
            1 pod remains: pod shop/pet: no controller would recreate it (the policy's drain.unmanagedPods is Block)
            1 pod remains
            its pods were not listed yet
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }
}
