//! Every name that more than one program must spell the same way.

/// The API group.
pub const GROUP: &str = "lockkeeper.dev";
/// The one lock object.
pub const LOCK: &str = "cluster";

/// The operator's field manager: marks, status, orders, lock.
pub const OPERATOR_MANAGER: &str = "lockkeeper-operator";
/// The agent's field manager: `status.host` and nothing else.
pub const AGENT_MANAGER: &str = "lockkeeper-agent";
/// Owns the cordon of a node that is on hold, so that our release leaves it cordoned.
pub const HOLD_MANAGER: &str = "lockkeeper-hold";
/// The command-line plugin's field manager.
pub const CLI_MANAGER: &str = "kubectl-lockkeeper";
/// The reporting controller of our Events.
pub const EVENT_SOURCE: &str = "lockkeeper";

/// On a Node: the id of the operation that holds it; part of our marks.
pub const OPERATION: &str = "lockkeeper.dev/operation";
/// On a Node, by a person: reboot it although nothing on the host asks; one-shot.
pub const REBOOT_REQUESTED: &str = "lockkeeper.dev/reboot-requested";
/// On a Node, by a person: leave it alone; the value is the reason.
pub const HOLD: &str = "lockkeeper.dev/hold";
/// On a Node, by a person: when a hold ends, RFC 3339.
pub const HOLD_UNTIL: &str = "lockkeeper.dev/hold-until";
/// On a Node, by a person: it may start under a policy with `approval: Manual`; the value is the reason; one-shot.
pub const APPROVED: &str = "lockkeeper.dev/approved";
/// On a `RebootPolicy`, by a person: the `openedTime` of the breaker that may close again.
pub const BREAKER_ACKNOWLEDGED: &str = "lockkeeper.dev/breaker-acknowledged";
/// On a `NodeReboot`, by the plugin: `<retry|release|cancel> <operation id>`.
pub const COMMAND: &str = "lockkeeper.dev/command";
/// On the `RebootLock`, by the plugin: it is closed for an uninstall; the value is the limit before, as JSON.
pub const PAUSED_FROM: &str = "lockkeeper.dev/paused-from";

/// On a Node: cluster-autoscaler leaves a node with the value `true` alone; part of our marks.
pub const CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// On a Node: Karpenter leaves a node with the value `true` alone; part of our marks.
pub const KARPENTER_DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// A label on a Node: load balancers of the cloud send it no traffic; part of our marks.
pub const EXCLUDE_FROM_LOAD_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// A taint: cluster-autoscaler is about to delete the node.
pub const TAINT_CLUSTER_AUTOSCALER: &str = "ToBeDeletedByClusterAutoscaler";
/// A taint: Karpenter is disrupting the node.
pub const TAINT_KARPENTER: &str = "karpenter.sh/disrupted";
/// A taint of ours, `NoSchedule`, under `drain.daemonSetsLast`: keeps the pods of DaemonSets from coming back too soon.
pub const TAINT_REBOOTING: &str = "lockkeeper.dev/rebooting";
/// A taint of ours, `PreferNoSchedule`, under `drain.preferUpdatedNodes`: on nodes whose reboot is still to come.
pub const TAINT_REBOOT_PENDING: &str = "lockkeeper.dev/reboot-pending";
/// Labels of a control-plane node; any of them counts.
pub const CONTROL_PLANE_LABELS: [&str; 3] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/etcd",
];

/// The label every pod of ours carries, with the value [`PART_OF`].
pub const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";
/// The value of [`PART_OF_LABEL`].
pub const PART_OF: &str = "lockkeeper";

/// The operator's Lease and the namespace it is in unless said otherwise.
pub const LEASE: &str = "lockkeeper-operator";
/// The namespace of an unchanged installation.
pub const NAMESPACE: &str = "lockkeeper-system";
