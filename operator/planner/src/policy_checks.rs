//! The checks of a policy: may a node start, and has it stayed healthy after its reboot?
//!
//! The operator evaluates them in rounds for as long as the plan asks for it ([`crate::Plan::checks`]). What is not known
//! means no.

use lockkeeper_reasons::{WaitReason, plural};

use crate::Instant;
use crate::overrides::Overrides;
use crate::snapshot::{
    CHECKS_FRESH, CheckJobs, CheckResult, CheckRound, CheckStage, CheckVerdict, Checks, Finding, MAX_BASELINE, Node,
    Operation, Override, Policy,
};

/// A message names so many findings.
const NAMED: usize = 3;

/// What the checks say about one node.
#[derive(Debug)]
pub(crate) enum Checked {
    /// They let it start, or go on.
    Passing,
    /// They are still to be evaluated for this node, or this Job of one has not finished.
    Pending(Option<String>),
    /// They do not, for this reason.
    Refused(WaitReason),
    /// A Job does not, for this reason: it would run again with the next attempt.
    RefusedByJob(WaitReason),
}

/// Which checks a node must pass before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartChecks {
    /// All of them.
    All,
    /// Those before the start are overridden. Those after the reboot must still give a baseline.
    BaselineOnly,
}

impl StartChecks {
    pub(crate) fn of(policy: &Policy, node: &Node, now: Instant) -> Self {
        if Overrides::of(policy, node, now).has(Override::IgnoreChecks) {
            Self::BaselineOnly
        } else {
            Self::All
        }
    }

    /// Whether any check of these decides.
    pub(crate) fn ask(self, checks: &Checks) -> bool {
        match self {
            Self::All => checks.evaluates,
            Self::BaselineOnly => checks.after,
        }
    }

    fn include(self, result: &CheckResult) -> bool {
        self == Self::All || result.stage == CheckStage::After
    }
}

/// Whether the checks let a node start. What the checks after the reboot find now is its baseline; if they cannot be
/// evaluated, there is none, and the node does not start either.
///
/// Jobs run only once the node has a slot: until then, `operation` is none and they do not count.
pub(crate) fn check_start(
    checks: Option<&Checks>,
    asked: StartChecks,
    node: &str,
    operation: Option<&Operation>,
    now: Instant,
) -> Checked {
    let Some(checks) = checks.filter(|checks| asked.ask(checks)) else {
        return Checked::Passing;
    };
    let Some(round) = fresh_round(checks, now) else {
        return Checked::Pending(None);
    };
    let refusal = |result: &CheckResult| refusal_of_start(result).filter(|_| asked.include(result));
    // What holds for all nodes is judged first: no node is asked about in vain.
    if let Some(refusal) = round.cluster.iter().find_map(refusal) {
        return Checked::Refused(refusal);
    }
    if !checks.per_node {
        return Checked::Passing;
    }
    let Some(results) = round.nodes.get(node) else {
        return Checked::Pending(None);
    };
    if let Some(refused) = results.iter().find(|result| refusal(result).is_some()) {
        let refusal = refusal(refused);
        let judge = if refused.job {
            Checked::RefusedByJob
        } else {
            Checked::Refused
        };
        return refusal.map_or(Checked::Passing, judge);
    }
    let counts = checks.before_jobs.is_some() && asked == StartChecks::All;
    let Some(jobs) = operation.filter(|_| counts).map(jobs_before) else {
        return Checked::Passing;
    };
    judge_jobs(round, node, &jobs)
}

/// For what the Jobs run that must succeed before the node of this operation starts.
pub(crate) fn jobs_before(operation: &Operation) -> CheckJobs {
    jobs_of(operation, CheckStage::Before)
}

/// For what the Jobs run that must succeed after the reboot of this operation.
pub(crate) fn jobs_after(operation: &Operation) -> CheckJobs {
    jobs_of(operation, CheckStage::After)
}

fn jobs_of(operation: &Operation, stage: CheckStage) -> CheckJobs {
    CheckJobs {
        operation: operation.id.clone(),
        attempt: operation.attempt,
        stage,
    }
}

/// Whether the round observed these Jobs, and all of them have finished.
fn judge_jobs(round: &CheckRound, node: &str, jobs: &CheckJobs) -> Checked {
    if round.jobs.get(node) != Some(jobs) {
        return Checked::Pending(None);
    }
    let results = round.nodes.get(node).into_iter().flatten();
    let mut running = results.filter_map(|result| match &result.verdict {
        CheckVerdict::Running(job) if result.stage == jobs.stage => Some(format!("check {}: {job}", result.name)),
        CheckVerdict::Running(_)
        | CheckVerdict::Passing
        | CheckVerdict::Failing(_)
        | CheckVerdict::Unavailable { .. } => None,
    });
    running
        .next()
        .map_or(Checked::Passing, |job| Checked::Pending(Some(job)))
}

/// Whether the checks of a rebooted node pass, apart from what failed already when it started; `until` is when it fails.
pub(crate) fn check_rebooted(
    checks: &Checks,
    operation: &Operation,
    node: &str,
    uncordoned: Instant,
    until: Instant,
    now: Instant,
) -> Checked {
    if !checks.after {
        return Checked::Passing;
    }
    let round = fresh_round(checks, now).filter(|round| round.started >= uncordoned);
    let Some(round) = round.filter(|round| !checks.per_node || round.nodes.contains_key(node)) else {
        return Checked::Pending(None);
    };
    let results = results_of(round, node).filter(|result| result.stage == CheckStage::After);
    let mut refusals = results.filter_map(|result| refusal_of_rebooted(result, operation, until));
    match refusals.next() {
        Some(refusal) => Checked::Refused(refusal),
        None if checks.after_jobs => judge_jobs(round, node, &jobs_after(operation)),
        None => Checked::Passing,
    }
}

/// The ids of what the checks after the reboot find now, before the node has started.
pub(crate) fn baseline(checks: Option<&Checks>, node: &str) -> Vec<String> {
    let round = checks.and_then(|checks| checks.round.as_ref());
    let results = round.into_iter().flat_map(|round| results_of(round, node));
    // What a Job found for another operation says nothing about this one.
    let failing = results.filter(|result| result.stage == CheckStage::After && !result.job);
    let mut ids: Vec<String> = failing
        .flat_map(|result| findings(&result.verdict))
        .map(|finding| finding.id.clone())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(MAX_BASELINE);
    ids
}

/// The last round, if it is not too old. One that began ahead of now was recorded by a wrong clock.
fn fresh_round(checks: &Checks, now: Instant) -> Option<&CheckRound> {
    let round = checks.round.as_ref()?;
    let age = now - round.started;
    (age < CHECKS_FRESH && age > -CHECKS_FRESH).then_some(round)
}

fn results_of<'a>(round: &'a CheckRound, node: &str) -> impl Iterator<Item = &'a CheckResult> {
    round.cluster.iter().chain(round.nodes.get(node).into_iter().flatten())
}

fn findings(verdict: &CheckVerdict) -> &[Finding] {
    match verdict {
        CheckVerdict::Failing(findings) => findings,
        CheckVerdict::Passing | CheckVerdict::Running(_) | CheckVerdict::Unavailable { .. } => &[],
    }
}

fn refusal_of_start(result: &CheckResult) -> Option<WaitReason> {
    match (&result.verdict, result.stage) {
        (CheckVerdict::Unavailable { error, ignored: false }, CheckStage::Before | CheckStage::After) => {
            Some(WaitReason::CheckUnavailable {
                check: result.name.clone(),
                error: error.clone(),
                until: None,
            })
        }
        (CheckVerdict::Failing(findings), CheckStage::Before) => Some(WaitReason::CheckFailing {
            check: result.name.clone(),
            what: words(&findings.iter().collect::<Vec<_>>()),
            until: None,
        }),
        (CheckVerdict::Failing(_), CheckStage::After)
        | (CheckVerdict::Passing | CheckVerdict::Running(_) | CheckVerdict::Unavailable { ignored: true, .. }, _) => {
            None
        }
    }
}

fn refusal_of_rebooted(result: &CheckResult, operation: &Operation, until: Instant) -> Option<WaitReason> {
    match &result.verdict {
        CheckVerdict::Unavailable { error, ignored: false } => Some(WaitReason::CheckUnavailable {
            check: result.name.clone(),
            error: error.clone(),
            until: Some(until),
        }),
        CheckVerdict::Failing(findings) => {
            let is_new = |finding: &&Finding| operation.checks_baseline.binary_search(&finding.id).is_err();
            let new: Vec<&Finding> = findings.iter().filter(is_new).collect();
            (!new.is_empty()).then(|| WaitReason::CheckFailing {
                check: result.name.clone(),
                what: words(&new),
                until: Some(until),
            })
        }
        CheckVerdict::Passing | CheckVerdict::Running(_) | CheckVerdict::Unavailable { ignored: true, .. } => None,
    }
}

fn words(findings: &[&Finding]) -> String {
    let named: Vec<&str> = findings
        .iter()
        .take(NAMED)
        .map(|finding| finding.text.as_str())
        .collect();
    let named = named.join("; ");
    match findings.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {} more", plural(more, "finding")),
    }
}
