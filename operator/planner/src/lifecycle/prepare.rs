//! From admission to the cordon: the agent is asked, and every check is made once more.

use chrono::TimeDelta;
use lockkeeper_reasons::{ReasonName, WaitReason};

use super::active::{ActiveOperation, Step};
use super::deadline::agent_deadline;
use crate::action::Action;
use crate::context::NodeRef;
use crate::eligibility::{Candidate, check_cordon};
use crate::policy_checks::{Checked, StartChecks, check_start};
use crate::slots::{SlotLedger, check_all_fit, check_slot};
use crate::snapshot::{AnswerState, Checks, Operation, OrderAction, Outcome, Phase};

/// How long the Job controller may take to end a Job, and the operator to observe that.
const JOBS_END: TimeDelta = TimeDelta::seconds(120);

/// The next step. `admitted_before` are the nodes whose turn is before this one's, `all` are all holders.
pub(super) fn next_step(active: &ActiveOperation, admitted_before: &SlotLedger, all: &SlotLedger) -> Step {
    let end = active.verify_new_boot().or_else(|| active.abort());
    if let Some(step) = end.or_else(|| active.defer_refused()) {
        return step;
    }
    if !active.has_order(OrderAction::Prepare) {
        return Step::act(active.set_order(Some(active.order(OrderAction::Prepare))));
    }
    let Some(answer) = active.answer() else {
        return await_answer(active);
    };
    match answer.state {
        AnswerState::Ready => {}
        // The API server was away for as long as an order lives: the agent and the host are well, and no back-off is due.
        AnswerState::Refused if active.order_has_expired() => {
            return active.end(Outcome::Withdrawn, &not_answering(active));
        }
        AnswerState::Refused | AnswerState::Failed | AnswerState::Rebooting | AnswerState::Withdrawn => {
            return active.defer(&active.refusal(&answer.message));
        }
    }
    if active.is_cordoned() {
        return after_cordon(active);
    }
    cordon(active, admitted_before, all)
}

fn await_answer(active: &ActiveOperation) -> Step {
    let operation = active.operation;
    let deadline = active.judged_at(agent_deadline(operation));
    if active.now() >= deadline {
        return active.defer(&not_answering(active));
    }
    let why = WaitReason::Preparing {
        asked: operation.asked,
        until: deadline,
    };
    Step::wait(why, Some(deadline))
}

/// The Jobs of checks have their time-outs, but what ends them may itself not work.
fn await_checks(active: &ActiveOperation, checks: Option<&Checks>, job: Option<String>) -> Step {
    let longest = checks.and_then(|checks| checks.before_jobs);
    let until = longest.map(|longest| active.judged_at(agent_deadline(active.operation) + longest + JOBS_END));
    let why = WaitReason::ChecksPending { job, until: None };
    match until {
        Some(until) if active.now() >= until => active.defer(&why),
        until => Step::wait(why, until),
    }
}

fn not_answering(active: &ActiveOperation) -> WaitReason {
    WaitReason::AgentNotAnswering {
        order: active.operation.order_id(),
        seconds: active.operation.settings.agent_timeout.num_seconds(),
    }
}

/// The operator cordons once for each operation: if the cordon is gone, another client has removed it.
fn after_cordon(active: &ActiveOperation) -> Step {
    if !active.node.unschedulable {
        return active.defer(&WaitReason::Uncordoned);
    }
    active.advance(Operation {
        phase: Phase::Draining,
        cordoned: Some(active.now()),
        ..active.operation.clone()
    })
}

fn cordon(active: &ActiveOperation, admitted_before: &SlotLedger, all: &SlotLedger) -> Step {
    let ActiveOperation { name, node, record, .. } = *active;
    let policy = active.assessment.single_policy(node);
    let node_ref = NodeRef {
        name,
        node,
        record,
        host: node.trusted_host(),
        policy: policy.map(|policy| policy.context.name),
    };
    let candidate = Candidate::new(node_ref, active.assessment);
    let eligible = check_cordon(active.assessment, &candidate);
    let may_start = eligible.and_then(|()| match candidate.policy {
        Some(policy) => check_slot(admitted_before, &candidate, policy, 0),
        None => Ok(()),
    });
    if let Err(why) = may_start {
        // A program that inhibits each attempt must not have the agent asked again and again.
        let is_inhibited = why.name() == ReasonName::Inhibited;
        let outcome = if is_inhibited {
            Outcome::Deferred
        } else {
            Outcome::Withdrawn
        };
        return active.end(outcome, &why);
    }
    let policy = candidate.policy.map(|policy| policy.context.policy);
    let must_pass = policy.map_or(StartChecks::All, |policy| StartChecks::of(policy, node, active.now()));
    let checks = policy.and_then(|policy| policy.checks.as_ref());
    match check_start(checks, must_pass, name, Some(active.operation), active.now()) {
        Checked::Passing => {}
        Checked::Pending(job) => return await_checks(active, checks, job),
        Checked::Refused(why) => return active.end(Outcome::Withdrawn, &why),
        // Without a back-off the node would start anew at once, and its Jobs with it.
        Checked::RefusedByJob(why) => return active.defer(&why),
    }
    if let Err(why) = check_all_fit(all, name, node, &active.operation.policy) {
        // The nodes that were admitted later release their slots first.
        return Step::wait(why, None);
    }
    let node_name = name.to_owned();
    Step::act(if node.cordoned_for.is_some() {
        // The cordon of an operation whose record was lost would be taken for a second one.
        Action::Uncordon {
            node: node_name,
            keep_cordon: false,
        }
    } else {
        Action::Cordon {
            node: node_name,
            operation_id: active.operation.id.clone(),
        }
    })
}
