//! What a snapshot is made of: objects as they were read, and what is known beside the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, names};
use lockkeeper_planner as planner;

use crate::guarded::UndecodableRecord;
use crate::slim;
use crate::static_pod::StaticPod;

/// The objects that a snapshot is made of; every write of its plan is guarded by the versions in here.
#[derive(Clone, Debug, Default)]
pub struct ObservedObjects {
    /// Nodes by name, of any operating system.
    pub nodes: BTreeMap<String, Arc<slim::Node>>,
    /// `NodeReboot`s by name.
    pub reboots: BTreeMap<String, Arc<NodeReboot>>,
    /// Policies that could be decoded.
    pub policies: BTreeMap<String, Arc<RebootPolicy>>,
    /// The lock.
    pub lock: Option<Arc<RebootLock>>,
    /// Pods that may be static pods of the control plane.
    pub static_pods: Vec<Arc<StaticPod>>,
    /// The objects that cannot be decoded. A Node that cannot be is among the Nodes.
    pub undecodable: UndecodableObjects,
    /// The `NodeReboot`s that the snapshot was made of, where a pass has replaced them since.
    pub replaced: BTreeMap<String, Option<Arc<NodeReboot>>>,
}

impl ObservedObjects {
    /// Puts a `NodeReboot` in the place of the one that the snapshot was made of, or removes it.
    pub fn replace_reboot(&mut self, name: &str, reboot: Option<Arc<NodeReboot>>) {
        let before = match reboot {
            Some(reboot) => self.reboots.insert(name.to_owned(), reboot),
            None => self.reboots.remove(name),
        };
        self.replaced.entry(name.to_owned()).or_insert(before);
    }

    /// Restores what the snapshot was made of, so that it can be compared with what there is now.
    pub(crate) fn restore_reboots(&mut self) {
        for (name, before) in std::mem::take(&mut self.replaced) {
            match before {
                Some(before) => drop(self.reboots.insert(name, before)),
                None => drop(self.reboots.remove(&name)),
            }
        }
    }
}

/// Objects that cannot be decoded, by name.
#[derive(Clone, Debug, Default)]
pub struct UndecodableObjects {
    /// Policies, and why.
    pub policies: BTreeMap<String, String>,
    /// `NodeReboot`s.
    pub reboots: BTreeMap<String, Arc<UndecodableRecord>>,
    /// Why the lock cannot be decoded, if it is there and cannot be.
    pub lock: Option<String>,
}

/// What is known beside the API: what the operator's own tasks do, and where it runs. A reader from outside has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The node that the operator runs on.
    pub own_node: Option<String>,
    /// Whether nodes start although agents are not confined to their own nodes.
    pub accepts_unconfined_agents: bool,
    /// The labels of a control-plane node; any of them counts.
    pub control_plane_labels: Vec<String>,
    /// The preflight of a node that was not asked about: for the operator it is unknown, and for a reader from outside
    /// none is made.
    pub preflight: planner::Preflight,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            own_node: None,
            accepts_unconfined_agents: false,
            control_plane_labels: names::CONTROL_PLANE_LABELS.map(str::to_owned).into(),
            preflight: planner::Preflight::Clear {
                at: planner::Instant::MAX_UTC,
            },
        }
    }
}
