//! The checks of a policy: may a node start, and has it stayed healthy after its reboot?
//!
//! The operator evaluates them in rounds for as long as the plan asks for it ([`crate::Plan::checks`]). What is not known
//! means no.

use lockkeeper_reasons::{WaitReason, plural};

use crate::Instant;
use crate::overrides::Overrides;
use crate::snapshot::{
    CHECKS_FRESH, CheckResult, CheckRound, CheckStage, CheckVerdict, Checks, Finding, MAX_BASELINE, Node, Operation,
    Override, Policy,
};

/// A message names so many findings.
const NAMED: usize = 3;

/// What the checks say about one node.
#[derive(Debug)]
pub(crate) enum Checked {
    /// They let it start, or go on.
    Passing,
    /// They are still to be evaluated for this node.
    Pending,
    /// They do not, for this reason.
    Refused(WaitReason),
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
pub(crate) fn check_start(checks: Option<&Checks>, asked: StartChecks, node: &str, now: Instant) -> Checked {
    let Some(checks) = checks.filter(|checks| asked.ask(checks)) else {
        return Checked::Passing;
    };
    let Some(round) = fresh_round(checks, now) else {
        return Checked::Pending;
    };
    let refusal = |results: &[CheckResult]| {
        let mut asked = results.iter().filter(|result| asked.include(result));
        asked.find_map(refusal_of_start)
    };
    // What holds for all nodes is judged first: no node is asked about in vain.
    if let Some(refusal) = refusal(&round.cluster) {
        return Checked::Refused(refusal);
    }
    match round.nodes.get(node) {
        _ if !checks.per_node => Checked::Passing,
        None => Checked::Pending,
        Some(results) => refusal(results).map_or(Checked::Passing, Checked::Refused),
    }
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
        return Checked::Pending;
    };
    let results = results_of(round, node).filter(|result| result.stage == CheckStage::After);
    let mut refusals = results.filter_map(|result| refusal_of_rebooted(result, operation, until));
    refusals.next().map_or(Checked::Passing, Checked::Refused)
}

/// The ids of what the checks after the reboot find now, before the node has started.
pub(crate) fn baseline(checks: Option<&Checks>, node: &str) -> Vec<String> {
    let round = checks.and_then(|checks| checks.round.as_ref());
    let results = round.into_iter().flat_map(|round| results_of(round, node));
    let failing = results.filter(|result| result.stage == CheckStage::After);
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
        CheckVerdict::Passing | CheckVerdict::Unavailable { .. } => &[],
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
        | (CheckVerdict::Passing | CheckVerdict::Unavailable { ignored: true, .. }, _) => None,
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
        CheckVerdict::Passing | CheckVerdict::Unavailable { ignored: true, .. } => None,
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
