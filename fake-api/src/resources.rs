//! The kinds of objects that the server knows.

use serde_json::Value;

/// A kind of objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// Such as `policy/v1`; `v1` for the core group.
    pub api_version: &'static str,
    /// The name in paths, such as `nodes`.
    pub plural: &'static str,
    /// The name in objects, such as `Node`.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether `status` is written through a path of its own only.
    pub status: bool,
    /// Whether a PUT must name the version that it replaces.
    pub guarded: bool,
}

const fn built_in(
    api_version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    status: bool,
) -> Resource {
    Resource {
        api_version,
        plural,
        kind,
        namespaced,
        status,
        guarded: false,
    }
}

const fn custom(plural: &'static str, kind: &'static str) -> Resource {
    Resource {
        guarded: true,
        ..built_in("lockkeeper.dev/v1alpha1", plural, kind, false, true)
    }
}

/// Every kind: those that Lockkeeper reads or writes.
pub const RESOURCES: [Resource; 17] = [
    built_in("v1", "nodes", "Node", false, true),
    built_in("v1", "pods", "Pod", true, true),
    built_in("v1", "namespaces", "Namespace", false, true),
    built_in("v1", "events", "Event", true, false),
    built_in("v1", "persistentvolumes", "PersistentVolume", false, true),
    built_in("v1", "persistentvolumeclaims", "PersistentVolumeClaim", true, true),
    built_in("v1", "replicationcontrollers", "ReplicationController", true, true),
    built_in("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", true, true),
    built_in("apps/v1", "daemonsets", "DaemonSet", true, true),
    built_in("apps/v1", "replicasets", "ReplicaSet", true, true),
    built_in("apps/v1", "statefulsets", "StatefulSet", true, true),
    built_in("apps/v1", "deployments", "Deployment", true, true),
    built_in(
        "storage.k8s.io/v1",
        "volumeattachments",
        "VolumeAttachment",
        false,
        true,
    ),
    Resource {
        guarded: true,
        ..built_in("coordination.k8s.io/v1", "leases", "Lease", true, false)
    },
    custom("nodereboots", "NodeReboot"),
    custom("rebootpolicies", "RebootPolicy"),
    custom("rebootlocks", "RebootLock"),
];

impl Resource {
    /// The kind with this plural name in this group and version.
    pub fn find(api_version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES
            .iter()
            .find(|resource| resource.api_version == api_version && resource.plural == plural)
    }

    /// The kind of an object.
    pub fn of(object: &Value) -> Option<&'static Self> {
        RESOURCES
            .iter()
            .find(|resource| object["apiVersion"] == resource.api_version && object["kind"] == resource.kind)
    }

    /// The kind with this plural name, which is unique among ours.
    pub fn named(plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.plural == plural)
    }

    /// The group without the version; empty for the core group.
    pub fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The name with its group, as error messages have it: `nodereboots.lockkeeper.dev`.
    pub fn qualified(&self) -> String {
        match self.group() {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}
