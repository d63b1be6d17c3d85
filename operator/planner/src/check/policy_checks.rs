//! S2: nothing starts while a check of its policy does not pass, or is not known to.

use super::overrides::allows;
use crate::Instant;
use crate::snapshot::{CHECKS_FRESH, CheckResult, CheckStage, CheckVerdict, Node, Operation, Override, Policy};

/// Why the checks of the policy do not let the node start, if so. Jobs run only for a node that has an operation already.
pub(super) fn refusing_check(policy: &Policy, name: &str, node: &Node, now: Instant) -> Option<String> {
    let checks = policy.checks.as_ref().filter(|checks| checks.evaluates)?;
    let only_after = allows(policy, node, Override::IgnoreChecks, now);
    if only_after && !checks.after {
        return None;
    }
    let Some(round) = &checks.round else {
        return Some("its checks were not evaluated".to_owned());
    };
    if (now - round.started).abs() >= CHECKS_FRESH {
        return Some("its checks were evaluated too long ago".to_owned());
    }
    let of_node = round.nodes.get(name);
    if checks.per_node && of_node.is_none() {
        return Some("its checks were not evaluated for this node".to_owned());
    }
    let is_of_operation = |operation: &Operation| {
        let jobs = round.jobs.get(name);
        jobs.is_some_and(|jobs| {
            (&*jobs.operation, jobs.attempt, jobs.stage) == (&*operation.id, operation.attempt, CheckStage::Before)
        })
    };
    if let (Some(_), Some(operation)) = (checks.before_jobs.filter(|_| !only_after), node.operation())
        && !is_of_operation(operation)
    {
        return Some("the Jobs of its checks were not run for this operation".to_owned());
    }
    let results = round.cluster.iter().chain(of_node.into_iter().flatten());
    let mut results = results.filter(|result| !only_after || result.stage == CheckStage::After);
    results.find_map(|result| (!lets_start(result, node)).then(|| format!("check {} does not pass", result.name)))
}

fn lets_start(result: &CheckResult, node: &Node) -> bool {
    match &result.verdict {
        CheckVerdict::Passing => true,
        // A Job that still runs for an operation that has ended does not count before the next one has begun.
        CheckVerdict::Running(_) => result.stage == CheckStage::After || node.operation().is_none(),
        CheckVerdict::Failing(_) => result.stage == CheckStage::After,
        CheckVerdict::Unavailable { ignored, .. } => *ignored,
    }
}
