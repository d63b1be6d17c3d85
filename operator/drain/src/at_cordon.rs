//! The pods of a node right after its cordon, from one list: what must be ready again after the reboot, and whether any pod
//! has to leave.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use lockkeeper_kube_util::Guarded;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::watch;

use crate::daemon_pod::DaemonPod;
use crate::error::Error;
use crate::fresh_reads::{namespaces, pods_on_node};
use crate::limits::{FRESH_CORDON, MIN_CORDON_AGE};
use crate::node::NodeView;
use crate::pod::{PodView, SlimPod};
use crate::progress::Progress;
use crate::ready_workloads::{ReadyWorkloads, ready_of};
use crate::settings::Settings;
use crate::state::State;
use crate::workloads::{Workload, ready_owners};

/// What a list of the pods of a node shows right after its cordon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodsAtCordon {
    /// What is Ready and cannot move.
    pub ready: ReadyWorkloads,
    /// The workloads whose pods leave, and which have all their replicas ready.
    pub workloads: Vec<Workload>,
    /// The node, if no pod has to leave.
    pub empty: Option<EmptyNode>,
}

/// A node from which no pod has to leave. Its drain is complete once its cordon is old enough: the list right before the
/// reboot order shows whether a pod has landed on it meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptyNode {
    begins: Progress,
    ends: Progress,
}

impl EmptyNode {
    /// Publishes the progress of the drain, without a request. It starts when the node is known to be cordoned.
    pub async fn drain(self, progress: watch::Sender<Progress>) {
        progress.send_replace(self.begins);
        tokio::time::sleep(MIN_CORDON_AGE.to_std().unwrap_or_default()).await;
        progress.send_replace(self.ends);
    }
}

/// Lists the pods of a node that was cordoned a moment ago, and reads at most `max_workloads` of the workloads whose pods
/// leave.
pub async fn pods_at_cordon(client: &Client, settings: &Settings, max_workloads: usize) -> Result<PodsAtCordon, Error> {
    let listed: Vec<Guarded<ListedPod>> = pods_on_node(client, &settings.node).await?;
    let (pods, stationary): (Vec<PodView>, Vec<DaemonPod>) = listed.into_iter().map(views).unzip();
    let namespaces = namespaces(client, settings, &pods).await?;
    let now = settings.clock.now();
    let workloads = ready_owners(client, settings, &namespaces, &pods, max_workloads).await;
    let mut state = State::new(settings.clone());
    state.node = Some(NodeView {
        cordoned: true,
        ..NodeView::default()
    });
    state.namespaces = namespaces;
    state.note_first_list(now);
    state.pods_listed(now, pods);
    let is_empty = state.remaining() == Some(0) && now <= settings.cordoned_at + FRESH_CORDON;
    Ok(PodsAtCordon {
        ready: ready_of(stationary),
        workloads,
        empty: is_empty.then(|| EmptyNode {
            begins: state.progress(now),
            ends: state.done(now),
        }),
    })
}

/// A pod as the drain and as the check after the reboot decode it.
#[derive(Clone, kube::Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
struct ListedPod {
    metadata: ObjectMeta,
    drained: SlimPod,
    stationary: DaemonPod,
}

impl fmt::Debug for ListedPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stationary.fmt(f)
    }
}

impl<'de> Deserialize<'de> for ListedPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pod = Value::deserialize(deserializer)?;
        let drained = SlimPod::deserialize(&pod).map_err(D::Error::custom)?;
        let stationary = DaemonPod::deserialize(pod).map_err(D::Error::custom)?;
        Ok(Self {
            metadata: stationary.metadata.clone(),
            drained,
            stationary,
        })
    }
}

fn views(pod: Guarded<ListedPod>) -> (PodView, DaemonPod) {
    match pod.0 {
        Ok(pod) => (pod.drained.into(), pod.stationary),
        Err(undecodable) => (
            Guarded::<SlimPod>(Err(undecodable.clone())).into(),
            Guarded::<DaemonPod>(Err(undecodable)).into(),
        ),
    }
}
