//! Names that more than one program uses.

/// The API group.
pub const GROUP: &str = "lockkeeper.dev";
/// The one lock object.
pub const LOCK: &str = "cluster";

/// The operator's field manager: cordons, status, orders, lock.
pub const OPERATOR_MANAGER: &str = "lockkeeper-operator";
/// The agent's field manager: `status.host` and nothing else.
pub const AGENT_MANAGER: &str = "lockkeeper-agent";
/// Owns the cordon of a node on hold, so that the node stays cordoned when the operator uncordons it.
pub const HOLD_MANAGER: &str = "lockkeeper-hold";
/// The command-line plugin's field manager.
pub const CLI_MANAGER: &str = "kubectl-lockkeeper";
/// The reporting controller of our Events.
pub const EVENT_SOURCE: &str = "lockkeeper";

/// On a Node: the ID of its operation; part of the cordon. On a Job that runs for the node, and its pods: the same.
pub const OPERATION: &str = "lockkeeper.dev/operation";
/// On a Node: the hook that waits for an annotation there, as JSON; the operator sets and removes it.
pub const HOOK: &str = "lockkeeper.dev/hook";
/// The type of the condition of a Node that gives notice, a name of KEP-5683.
pub const MAINTENANCE_PLANNED: &str = "MaintenancePlanned";
/// The reason of that condition, by which the operator knows its own.
pub const NOTICE_REASON: &str = "LockkeeperReboot";
/// On a Node, by a person: reboot it once although its host does not require it.
pub const REBOOT_REQUESTED: &str = "lockkeeper.dev/reboot-requested";
/// On a Node, by a person: do not start it; the value is the reason.
pub const HOLD: &str = "lockkeeper.dev/hold";
/// On a Node, by a person: when its hold ends, RFC 3339.
pub const HOLD_UNTIL: &str = "lockkeeper.dev/hold-until";
/// On a Node, by a person: it may start once under a policy with `approval: Manual`; the value is the reason.
pub const APPROVED: &str = "lockkeeper.dev/approved";
/// On a `RebootPolicy`, by a person: the `openedTime` of the breaker that may close again.
pub const BREAKER_ACKNOWLEDGED: &str = "lockkeeper.dev/breaker-acknowledged";
/// On a `NodeReboot`, by the plugin: `<retry|release|cancel> <operation id>`. On the `RebootLock`, for a node whose Node was
/// deleted: `release <operation id>`.
pub const COMMAND: &str = "lockkeeper.dev/command";
/// On the `RebootLock`, by the plugin: it is paused; the value is the previous limit, as JSON.
pub const PAUSED_FROM: &str = "lockkeeper.dev/paused-from";

/// On a Node: with the value `true` cluster-autoscaler does not remove it; part of the cordon.
pub const CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// On a Node: with the value `true` Karpenter does not disrupt it; part of the cordon.
pub const KARPENTER_DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// A label on a Node: load balancers of the cloud send it no traffic; part of the cordon.
pub const EXCLUDE_FROM_LOAD_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Taints of programs that are about to delete the node: a node with one of them is not started.
pub const DELETION_TAINTS: [&str; 6] = [
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "aws-node-termination-handler/spot-itn",
    "aws-node-termination-handler/asg-lifecycle-termination",
    "cloud.google.com/impending-node-termination",
];
/// Our taint `NoSchedule` under `drain.daemonSetsLast`: keeps the pods of DaemonSets off the node until it has
/// rebooted.
pub const TAINT_REBOOTING: &str = "lockkeeper.dev/rebooting";
/// Our taint `PreferNoSchedule` under `drain.preferUpdatedNodes`: on nodes that have not rebooted yet.
pub const TAINT_REBOOT_PENDING: &str = "lockkeeper.dev/reboot-pending";
/// The label by which virtual-kubelet and its kind mark a Node that is no machine.
pub const VIRTUAL_NODE_LABEL: &str = "type";
/// The values of [`VIRTUAL_NODE_LABEL`] for such a Node.
pub const VIRTUAL_NODE_VALUES: [&str; 2] = ["virtual-kubelet", "virtual-node"];
/// Labels of a control-plane node, unless the operator's `--control-plane-labels` names others; any of them counts.
pub const CONTROL_PLANE_LABELS: [&str; 5] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/etcd",
    "node-role.kubernetes.io/controlplane",
    "node.kubernetes.io/microk8s-controlplane",
];

/// The label of all our pods, with the value [`PART_OF`].
pub const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";
/// The value of [`PART_OF_LABEL`].
pub const PART_OF: &str = "lockkeeper";

/// The label that tells the operator's objects from the node agent's: `operator` or `node-agent`.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// The value of [`COMPONENT_LABEL`] of Jobs that run for a node, and of their pods.
pub const JOB_COMPONENT: &str = "job";
/// A label and an annotation of Jobs that run for a node, and of their pods, and a label of `EvictionRequest`s for pods of a
/// node: the node. [`OPERATION`] is another one.
pub const JOB_NODE: &str = "lockkeeper.dev/node";
/// A label and an annotation of Jobs that run for a node, and of their pods: what they run for.
pub const JOB_PURPOSE: &str = "lockkeeper.dev/purpose";
/// An annotation of Jobs that run for a node: the CronJob that they are made of.
pub const JOB_TEMPLATE: &str = "lockkeeper.dev/template";
/// The taint of a node that is cordoned.
pub const TAINT_UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The operator's Lease.
pub const LEASE: &str = "lockkeeper-operator";
/// The default namespace of an installation.
pub const NAMESPACE: &str = "lockkeeper-system";
