//! The checks of a policy: what must hold before a node starts, and after it has rebooted.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Defaults;
use crate::selector::LabelSelector;

/// What must hold before a node starts, and after it has rebooted before the next one starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.soakSeconds < self.timeoutSeconds").message("soakSeconds must be less than timeoutSeconds"))]
pub struct Checks {
    /// Checks that must pass before a node starts. While one of them fails, or its source cannot be reached, no node starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub before: Vec<Check>,
    /// Checks that must pass after a node has rebooted, before its slot is freed. What failed already when the node started
    /// does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub after: Vec<Check>,
    /// Seconds for which the node must stay Ready and the checks in `after` must pass without a break, before its slot is
    /// freed. A failure starts the time anew.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_400))]
    pub soak_seconds: i32,
    /// Seconds from the uncordon within which the checks in `after` must have passed for `soakSeconds`; otherwise the node is
    /// Failed.
    #[serde(default = "Defaults::check_timeout_seconds")]
    #[schemars(range(min = 10, max = 172_800))]
    pub timeout_seconds: i32,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            after: Vec::new(),
            soak_seconds: 0,
            timeout_seconds: Defaults::check_timeout_seconds(),
        }
    }
}

/// One check. Exactly one of the sources is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.prometheus), has(self.pods), has(self.nodeConditions), has(self.object), has(self.http), has(self.job)].filter(set, set).size() == 1").message("a check needs exactly one of prometheus, pods, nodeConditions, object, http and job"))]
pub struct Check {
    /// The name, which messages and metrics show.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What an error means, such as a source that cannot be reached.
    #[serde(default)]
    pub on_error: OnCheckError,
    /// Alerts or a query of a Prometheus server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// Pods of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsCheck>,
    /// Conditions of the node that starts, or has rebooted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub node_conditions: Vec<NodeConditionCheck>,
    /// An expression over any object of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectCheck>,
    /// The answer of an HTTP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// A Job that runs for the node that starts, or has rebooted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobCheck>,
}

impl Check {
    /// Whether it asks about the node that starts, or has rebooted, and not about the cluster.
    pub fn is_about_node(&self) -> bool {
        !self.node_conditions.is_empty() || self.pods.as_ref().is_some_and(|pods| pods.on_node) || self.job.is_some()
    }
}

/// What an error of a check means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnCheckError {
    /// No node starts, and a node that has rebooted keeps its slot.
    #[default]
    Block,
    /// The check counts as passed.
    Ignore,
    /// A value of a newer version; treated as `Block`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// How a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The URL, `http://` or `https://`, without user and password.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://[^@\\s]+$"))]
    pub url: String,
    /// The certificate authorities that the server's certificate is verified with, as PEM; by default the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKey>,
    /// A token that is sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<SecretKey>,
}

/// A key of a Secret in the operator's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Alerts or a query of a Prometheus server. Exactly one of `alerts` and `query` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.alerts) != has(self.query)").message("prometheus needs exactly one of alerts and query"))]
pub struct PrometheusCheck {
    /// The server; its URL is the one to which `/api/v1/query` is appended.
    #[serde(flatten)]
    pub server: Server,
    /// Passes while none of these alerts is active. Lockkeeper's own alerts never count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertsCheck>,
    /// Passes while the result of a query is as expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryCheck>,
}

/// Which alerts must not be active.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertsCheck {
    /// Label matchers in PromQL, such as `severity="critical"` or `namespace=~"kube-.*"`; an alert counts if all of them
    /// match. By default all alerts count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub matchers: Vec<Matcher>,
    /// Names of alerts that do not count, in addition to `Watchdog`, `InfoInhibitor` and those of Lockkeeper.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ignore: Vec<AlertName>,
    /// Which states of an alert count.
    #[serde(default)]
    pub states: AlertStates,
}

/// A label matcher in PromQL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Matcher(
    #[schemars(
        length(max = 512),
        regex(pattern = r#"^[a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"([^"\\]|\\.)*"$"#)
    )]
    pub String,
);

/// The name of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AlertName(#[schemars(length(min = 1, max = 253))] pub String);

/// Which states of an alert count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AlertStates {
    /// Only alerts that fire.
    #[default]
    Firing,
    /// Alerts that fire or are pending.
    FiringOrPending,
    /// A value of a newer version; treated as `FiringOrPending`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// A query and the result that passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryCheck {
    /// The query in PromQL.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
    /// The result that passes.
    #[serde(default)]
    pub expect: QueryResult,
}

/// The result of a query that passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueryResult {
    /// No series; each series of the result is one failure.
    #[default]
    Empty,
    /// At least one series, and none whose value is 0.
    True,
    /// A value of a newer version; never passes.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What must hold for pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodsCheck {
    /// The namespace; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Selects the pods.
    pub selector: LabelSelector,
    /// If true, only pods on the node that starts, or has rebooted, count.
    #[serde(default)]
    pub on_node: bool,
    /// What must hold for them.
    pub expect: PodsExpected,
}

/// What must hold for pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodsExpected {
    /// No such pod is pending or runs.
    #[default]
    NoneRunning,
    /// All such pods that have not completed are Ready, and there is at least one.
    AllReady,
    /// A value of a newer version; never passes.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// A condition that the node must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeConditionCheck {
    /// The type of the condition, such as `KernelDeadlock`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,
    /// The status that it must have. A condition that the node does not have fails the check.
    pub status: ConditionStatus,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// `True`.
    #[default]
    True,
    /// `False`.
    False,
    /// A value of a newer version; never passes.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// An expression over an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectCheck {
    /// The API group and version, such as `ceph.rook.io/v1`.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// The kind, such as `CephCluster`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The namespace of the object, unless it is cluster-scoped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A CEL expression over `object` that passes if it is true, such as `object.status.ceph.health == 'HEALTH_OK'`.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
}

/// The answer of an HTTP server to GET.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// The server.
    #[serde(flatten)]
    pub server: Server,
    /// The status that passes; by default any from 200 to 299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub expected_status: Option<i32>,
}

/// A Job that runs for the node. The check passes if it succeeds.
///
/// In `before` it runs once the node has a slot, before its cordon; if it fails, the node is deferred. In `after` it runs
/// after the uncordon, and once more some time after a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCheck {
    /// The CronJob in the operator's namespace whose `jobTemplate` the Job is made from. It should have `suspend: true`.
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub cron_job: String,
    /// If true, the Job's pods run on the node itself; if false, on any other node.
    #[serde(default)]
    pub on_node: bool,
    /// Seconds that it may run. A shorter `activeDeadlineSeconds` of the template counts instead.
    #[serde(default = "Defaults::job_timeout_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub timeout_seconds: i32,
}
