//! The hooks of an operation: one after another, each until it has ended or timed out.
//!
//! That a hook has begun is recorded first, and that it has ended is recorded before anything else follows. A new operator
//! finds its Job, or what the Node says of it, by the id of the run.

use lockkeeper_reasons::{WaitReason, format_duration};

use super::active::{ActiveOperation, Step};
use crate::action::Action;
use crate::snapshot::{CurrentHook, EndedHook, Hook, HookJob, HookKind, HookPoint, JobState, Operation};

/// The next step while hooks of this point have not ended; none once they have.
pub(super) fn next_step(active: &ActiveOperation, point: HookPoint) -> Option<Step> {
    let hook = active.operation.next_hook(point)?;
    let current = active.operation.hook.as_ref();
    let Some(current) = current.filter(|current| current.point == point && current.name == hook.name) else {
        return Some(active.advance(Operation {
            hook: Some(CurrentHook {
                point,
                name: hook.name.clone(),
                since: active.now(),
            }),
            ..active.operation.clone()
        }));
    };
    let run = Run { active, hook, current };
    Some(match &hook.kind {
        HookKind::Job { template, on_node } => Step {
            hook_job: Some(run.job(template, *on_node)),
            ..run.await_job()
        },
        HookKind::Annotation(keys) => match &active.node.handshake {
            Some(handshake) if handshake.id == run.id() => {
                if handshake.answered {
                    run.end(None)
                } else {
                    let key = &keys.annotation;
                    run.wait(&format!(
                        "waiting until the annotation {key} of the Node is set to \"true\""
                    ))
                }
            }
            // What an earlier hook left on the Node is removed first.
            Some(_) => run.wait("the keys of another hook are being removed from the Node"),
            None => Step::act(Action::BeginHandshake {
                node: active.name.to_owned(),
                id: run.id(),
                keys: keys.clone(),
            }),
        },
    })
}

/// The run of a hook for one operation.
struct Run<'a> {
    active: &'a ActiveOperation<'a>,
    hook: &'a Hook,
    current: &'a CurrentHook,
}

impl Run<'_> {
    fn id(&self) -> String {
        self.active.operation.hook_id(self.current)
    }

    fn job(&self, template: &str, on_node: bool) -> HookJob {
        HookJob {
            id: self.id(),
            operation_id: self.active.operation.id.clone(),
            attempt: self.active.operation.attempt,
            point: self.current.point,
            hook: self.hook.name.clone(),
            template: template.to_owned(),
            on_node,
            timeout: self.hook.timeout,
        }
    }

    fn await_job(&self) -> Step {
        let report = self.active.node.hook_job.as_ref();
        let report = report.filter(|report| report.id == self.id());
        match report.map(|report| &report.state) {
            None => self.wait("its Job is being created"),
            Some(JobState::Running { job }) => self.wait(&format!("Job {job} runs")),
            Some(JobState::Succeeded) => self.end(None),
            Some(JobState::Failed { message }) => self.fail(message.clone()),
            Some(JobState::Unavailable { error }) => self.wait_for(
                |until| WaitReason::HookUnavailable {
                    hook: self.hook.name.clone(),
                    error: error.clone(),
                    until,
                },
                error,
            ),
        }
    }

    fn wait(&self, what: &str) -> Step {
        let reason = |until| WaitReason::HookRunning {
            hook: self.hook.name.clone(),
            what: what.to_owned(),
            until,
        };
        self.wait_for(reason, what)
    }

    fn wait_for(&self, reason: impl FnOnce(crate::Instant) -> WaitReason, what: &str) -> Step {
        let until = self.active.judged_at(self.current.since + self.hook.timeout);
        if self.active.now() < until {
            return Step::wait(reason(until), Some(until));
        }
        let timeout = format_duration(self.hook.timeout);
        self.fail(format!("it did not end within {timeout}: {what}"))
    }

    fn end(&self, failure: Option<String>) -> Step {
        let mut ended_hooks = self.active.operation.ended_hooks.clone();
        ended_hooks.push(EndedHook {
            point: self.current.point,
            name: self.hook.name.clone(),
            ended: self.active.now(),
            failure,
        });
        self.active.advance(Operation {
            hook: None,
            ended_hooks,
            pods_moved: self.active.pods_moved(),
            ..self.active.operation.clone()
        })
    }

    fn fail(&self, message: String) -> Step {
        if self.hook.ignores_failure {
            return self.end(Some(message));
        }
        let (hook, name) = (&self.hook.name, self.active.name);
        match self.current.point {
            HookPoint::BeforeDrain | HookPoint::BeforeReboot => self.active.defer(&WaitReason::HookFailed {
                hook: hook.clone(),
                message,
            }),
            HookPoint::AfterReboot => self.active.fail(format!(
                "{name} rebooted and is healthy, but hook {hook} (hooks.afterReboot) failed: {message}; repair that, then retry or \
                 release the node"
            )),
        }
    }
}
