//! The agent's only write: `status.host` of its own `NodeReboot`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use lockkeeper_crds::host::SoftReboots;
use lockkeeper_crds::names::AGENT_MANAGER;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{HostReport, NodeReboot, Order, OrderAnswer, Phase};
use lockkeeper_kube_util::patch_params;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::facts::CLOCK_DRIFT;
use crate::host::HostView;
use lockkeeper_channel::text::{MESSAGE, NAME, fit};

/// The timeout of a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// The timeout of the read before a reboot.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest number of inhibitors that the custom resource accepts.
const MAX_INHIBITORS: usize = 16;

/// The part of a `NodeReboot` that the agent uses; other fields, such as those of a newer operator, are ignored.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "NodeReboot")]
pub struct OwnNodeReboot {
    /// Name, uid and version.
    pub metadata: ObjectMeta,
    /// The order.
    #[serde(default)]
    pub spec: OwnSpec,
    /// The agent's report.
    #[serde(default)]
    pub status: OwnStatus,
}

/// The part of the spec that the agent uses.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OwnSpec {
    /// The order, if there is one.
    pub order: Option<Order>,
}

/// The part of the status that the agent uses.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OwnStatus {
    /// The report.
    pub host: Option<HostReport>,
    /// The operation in progress. Only the operator can write it: an order without it is not the operator's.
    pub operation: Option<OwnOperation>,
}

/// The part of the operation that the agent uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnOperation {
    /// Its id.
    pub id: String,
    /// Number of times that `retry` repeated its order.
    #[serde(default)]
    pub attempt: i32,
    /// Its phase.
    pub phase: Phase,
    /// Present while it is being ended.
    #[serde(default)]
    pub pending_outcome: Option<IgnoredAny>,
}

impl OwnOperation {
    /// The id of the order of the present attempt.
    pub fn order_id(&self) -> String {
        format!("{}-{}", self.id, self.attempt)
    }
}

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The operator has not created the object yet, or the node is gone.
    #[error("NodeReboot {0} does not exist; the operator creates one for each Linux node")]
    Missing(String),
    /// RBAC or the admission policy.
    #[error(
        "the API server refuses the report of {0}; apply the agent's ClusterRole and admission policy as shipped, with a token bound to this node's pod"
    )]
    Refused(String, #[source] kube::Error),
    /// An error that may be transient.
    #[error("cannot write the report of {0}")]
    Failed(String, #[source] kube::Error),
    /// The object cannot be read.
    #[error("cannot read NodeReboot {0}")]
    Unreadable(String, #[source] kube::Error),
    /// No answer to a read.
    #[error("cannot read NodeReboot {0}: no answer within {s} s", s = READ_TIMEOUT.as_secs())]
    NotReadInTime(String),
    /// No answer to a write.
    #[error("cannot write the report of {0}: no answer within {s} s", s = WRITE_TIMEOUT.as_secs())]
    NoAnswer(String),
}

/// The report for the observed host.
pub fn host_report(
    view: &HostView,
    answer: Option<OrderAnswer>,
    confinement: &Confinement,
    agent_version: &str,
) -> HostReport {
    let facts = view.present_facts();
    let message = match facts {
        Some(facts) if facts.reboot_capable => String::new(),
        Some(facts) => fit(&facts.message, MESSAGE),
        None => "the actuator has not reported since this boot; check the log of container actuator, or without that \
                 container the service lockkeeper-actuator of the host"
            .to_owned(),
    };
    let inhibitors = facts.map_or(&[][..], |facts| &facts.inhibitors);
    HostReport {
        boot_id: view.boot_id.clone(),
        boot_time: view.boot_time,
        soft_reboots: soft_reboots(view),
        os: view.os.clone(),
        kernel: view.kernel.clone(),
        reboot_required: view.reboot_required.clone(),
        reboot_capable: facts.is_some_and(|facts| facts.reboot_capable),
        reboot_capable_message: message,
        reboot_allowed_time: reboot_allowed_time(view),
        confined: confinement.confined,
        confined_message: confinement.message.clone(),
        inhibitors: inhibitors
            .iter()
            .take(MAX_INHIBITORS)
            .map(|inhibitor| lockkeeper_crds::host::Inhibitor {
                who: fit(&inhibitor.who, NAME),
                why: fit(&inhibitor.why, NAME),
            })
            .collect(),
        order: answer,
        agent_version: agent_version.to_owned(),
    }
}

/// The soft-reboots, as far as the actuator counts them. One with a time that is not known is reported all the same.
fn soft_reboots(view: &HostView) -> Option<SoftReboots> {
    let counted = view.present_facts()?.soft_reboots?;
    Some(SoftReboots {
        count: i32::try_from(counted.count).unwrap_or(i32::MAX),
        last_time: view.soft_rebooted.map(whole_seconds),
    })
}

/// From when on the actuator reboots a host that has just booted. The clocks of the operator and of this host differ a bit:
/// the time is a bit later, and once the actuator reboots the host the report no longer has it.
fn reboot_allowed_time(view: &HostView) -> Option<DateTime<Utc>> {
    view.reboot_refused_for()?;
    let min_uptime = view.facts.as_ref()?.min_uptime_seconds;
    let min_uptime = TimeDelta::try_seconds(i64::try_from(min_uptime).ok()?)?;
    let started = view.boot_time.max(view.soft_rebooted);
    started?.checked_add_signed(min_uptime + CLOCK_DRIFT)
}

/// Whether the API server confines the agent to the report of its own node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The result of the last test; `None` if it gave none.
    pub confined: Option<bool>,
    /// What is wrong, and the remedy; empty if it is confined.
    pub message: String,
}

impl Confinement {
    /// It does.
    pub fn confined() -> Self {
        Self {
            confined: Some(true),
            message: String::new(),
        }
    }

    /// It does not.
    pub fn not_confined() -> Self {
        let message = "nothing confines this agent to its own node: apply the agents' ValidatingAdmissionPolicy \
                       (lockkeeper-agent) and its binding for the namespace and the ServiceAccount of the agents";
        Self {
            confined: Some(false),
            message: message.to_owned(),
        }
    }

    /// The test gave no result.
    pub fn unknown(error: &str) -> Self {
        Self {
            confined: None,
            message: fit(
                &format!("the test whether this agent is confined failed and is repeated: {error}"),
                MESSAGE,
            ),
        }
    }
}

/// Writes reports.
#[derive(Clone)]
pub struct Reporter {
    api: Api<OwnNodeReboot>,
    name: String,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Reporter")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Reporter {
    /// Creates a reporter for the node of this name.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            api: Api::all(client),
            name: name.to_owned(),
        }
    }

    /// Writes the report and returns the updated object.
    pub async fn report(&self, report: &HostReport) -> Result<OwnNodeReboot, ReportError> {
        let params = patch_params(AGENT_MANAGER).force();
        self.apply(report, &params).await
    }

    /// Reads the object as it is now, not as a cache has it.
    pub async fn read(&self) -> Result<OwnNodeReboot, ReportError> {
        let name = || self.name.clone();
        let params = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let request = self.api.list(&params);
        match tokio::time::timeout(READ_TIMEOUT, request).await {
            Ok(Ok(list)) => list
                .items
                .into_iter()
                .next()
                .ok_or_else(|| ReportError::Missing(name())),
            Ok(Err(error)) => Err(ReportError::Unreadable(name(), error)),
            Err(_elapsed) => Err(ReportError::NotReadInTime(name())),
        }
    }

    /// Whether the admission policy confines the agent: a dry run as another field manager must be forbidden.
    pub async fn is_confined(&self, report: &HostReport) -> Result<bool, ReportError> {
        let params = patch_params("lockkeeper-self-test").force().dry_run();
        match self.apply(report, &params).await {
            Ok(_) => Ok(false),
            Err(ReportError::Refused(_, kube::Error::Api(status))) if status.code == 403 => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn apply(&self, report: &HostReport, params: &PatchParams) -> Result<OwnNodeReboot, ReportError> {
        let name = || self.name.clone();
        let body = json!({
            "apiVersion": NodeReboot::api_version(&()),
            "kind": NodeReboot::kind(&()),
            "metadata": {"name": self.name},
            "status": {"host": report},
        });
        let patch = Patch::Apply(&body);
        let request = self.api.patch_status(&self.name, params, &patch);
        match tokio::time::timeout(WRITE_TIMEOUT, request).await {
            Ok(Ok(own)) => Ok(own),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(ReportError::Missing(name())),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403 | 422) => {
                Err(ReportError::Refused(name(), kube::Error::Api(status)))
            }
            Ok(Err(error)) => Err(ReportError::Failed(name(), error)),
            Err(_elapsed) => Err(ReportError::NoAnswer(name())),
        }
    }
}
