//! The hooks of a policy, how far those of an operation are, and what is known of the one in progress.

use chrono::TimeDelta;

use crate::Instant;

/// What is done about each node at fixed points of its operation, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The hooks of [`HookPoint::BeforeDrain`].
    pub before_drain: Vec<Hook>,
    /// The hooks of [`HookPoint::BeforeReboot`].
    pub before_reboot: Vec<Hook>,
    /// The hooks of [`HookPoint::AfterReboot`].
    pub after_reboot: Vec<Hook>,
}

impl Hooks {
    /// The hooks of one point.
    pub fn at(&self, point: HookPoint) -> &[Hook] {
        match point {
            HookPoint::BeforeDrain => &self.before_drain,
            HookPoint::BeforeReboot => &self.before_reboot,
            HookPoint::AfterReboot => &self.after_reboot,
        }
    }
}

/// A point of an operation at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    /// After the cordon, before the first pod is evicted.
    BeforeDrain,
    /// Once the node is drained, before its reboot is ordered.
    BeforeReboot,
    /// Once the node is healthy after its reboot, before it is uncordoned.
    AfterReboot,
}

impl HookPoint {
    /// The name of the point's field in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeDrain => "beforeDrain",
            Self::BeforeReboot => "beforeReboot",
            Self::AfterReboot => "afterReboot",
        }
    }
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: HookKind,
    /// Within which time it must have ended.
    pub timeout: TimeDelta,
    /// Whether the operation continues if it fails or times out.
    pub ignores_failure: bool,
}

/// What a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// A Job that must succeed.
    Job {
        /// The `CronJob` in the operator's namespace that it is made from.
        template: String,
        /// Whether it runs on the node itself.
        on_node: bool,
    },
    /// An annotation that another client sets to `true`.
    Annotation(HandshakeKeys),
}

/// The keys on a Node through which the operator and another client talk about a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeKeys {
    /// The annotation that another client sets to `true`.
    pub annotation: String,
    /// The label that is `true` while the hook waits.
    pub label: Option<String>,
}

/// The hook in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentHook {
    /// When it runs.
    pub point: HookPoint,
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: Instant,
}

/// A hook that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedHook {
    /// When it ran.
    pub point: HookPoint,
    /// Its name.
    pub name: String,
    /// When it ended.
    pub ended: Instant,
    /// Why it failed, if the operation continues nevertheless.
    pub failure: Option<String>,
}

/// A hook that waits for an annotation, as its Node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The id of the hook's run.
    pub id: String,
    /// The keys.
    pub keys: HandshakeKeys,
    /// Whether another client has set the annotation to `true`.
    pub answered: bool,
}

/// A Job that the hook in progress needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookJob {
    /// The id of the hook's run.
    pub id: String,
    /// The id of the operation.
    pub operation_id: String,
    /// The attempt of the operation.
    pub attempt: i32,
    /// When it runs.
    pub point: HookPoint,
    /// The hook's name.
    pub hook: String,
    /// The `CronJob` in the operator's namespace that it is made from.
    pub template: String,
    /// Whether it runs on the node itself.
    pub on_node: bool,
    /// Within which time it must have ended.
    pub timeout: TimeDelta,
}

/// What is known of the Job of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// The id of the hook's run.
    pub id: String,
    /// How far it is.
    pub state: JobState,
}

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It runs.
    Running {
        /// Its `namespace/name`.
        job: String,
    },
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed {
        /// Which Job, and why.
        message: String,
    },
    /// It cannot be created or read.
    Unavailable {
        /// The error, and the remedy.
        error: String,
    },
}
