//! Volumes of in-tree drivers, and their names in the status of a node, also where they were migrated to CSI.
//!
//! Old volumes name an in-tree driver for ever; the kubelet and the attach-detach controller translate them. The table is
//! that of Kubernetes' own translation (`k8s.io/csi-translation-lib`), without `azureFile`, which is mounted and never
//! attached. `rbd` needs no entry: Kubernetes removed the driver and its translation in 1.31, so that no supported version
//! attaches such a volume.

use serde::Deserialize;

/// A volume's name in the status of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatusName {
    /// This name. Cloud providers write the names of one volume with differing case.
    Exact(String),
    /// A name with this driver that ends so: the project and the zone of a disk are not known to every volume.
    OfDriver {
        /// The name up to the handle.
        prefix: String,
        /// The end of the handle.
        suffix: String,
    },
}

impl StatusName {
    /// The name of a volume that is attached through CSI.
    pub(crate) fn csi(driver: &str, handle: &str) -> Self {
        Self::Exact(format!("{CSI_PREFIX}{driver}^{handle}"))
    }

    /// Whether the status means this volume.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(name),
            Self::OfDriver { prefix, suffix } => name.starts_with(prefix) && name.ends_with(suffix),
        }
    }
}

const CSI_PREFIX: &str = "kubernetes.io/csi/";

/// The in-tree source of a volume, of a pod or of a `PersistentVolume`: at most one field is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InTreeSource {
    aws_elastic_block_store: Option<VolumeId>,
    gce_persistent_disk: Option<GceDisk>,
    azure_disk: Option<AzureDisk>,
    cinder: Option<VolumeId>,
    vsphere_volume: Option<VsphereVolume>,
    portworx_volume: Option<VolumeId>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct VolumeId {
    #[serde(rename = "volumeID")]
    volume_id: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct GceDisk {
    #[serde(rename = "pdName")]
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AzureDisk {
    #[serde(rename = "diskURI")]
    uri: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct VsphereVolume {
    #[serde(rename = "volumePath")]
    path: String,
}

impl InTreeSource {
    /// The names under which the volume may be in the status of a node: with the in-tree driver, and translated.
    pub(crate) fn status_names(&self) -> Vec<StatusName> {
        let mut names = Vec::new();
        let mut add = |plugin: &str, id: &str, driver: &str, handle: &str| {
            names.push(StatusName::Exact(format!("kubernetes.io/{plugin}/{id}")));
            names.push(StatusName::csi(driver, handle));
        };
        if let Some(VolumeId { volume_id }) = &self.aws_elastic_block_store {
            // `aws://eu-central-1a/vol-0abc` or `vol-0abc`.
            let handle = volume_id.rsplit('/').next().unwrap_or(volume_id);
            add("aws-ebs", volume_id, "ebs.csi.aws.com", handle);
        }
        if let Some(AzureDisk { uri }) = &self.azure_disk {
            add("azure-disk", uri, "disk.csi.azure.com", uri);
        }
        if let Some(VolumeId { volume_id }) = &self.cinder {
            add("cinder", volume_id, "cinder.csi.openstack.org", volume_id);
        }
        if let Some(VsphereVolume { path }) = &self.vsphere_volume {
            add("vsphere-volume", path, "csi.vsphere.vmware.com", path);
        }
        if let Some(VolumeId { volume_id }) = &self.portworx_volume {
            add("portworx-volume", volume_id, "pxd.portworx.com", volume_id);
        }
        if let Some(GceDisk { name }) = &self.gce_persistent_disk {
            names.push(StatusName::Exact(format!("kubernetes.io/gce-pd/{name}")));
            names.push(StatusName::OfDriver {
                prefix: format!("{CSI_PREFIX}pd.csi.storage.gke.io^"),
                suffix: format!("/disks/{name}"),
            });
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn matches(source: Value, name: &str) -> bool {
        let source: InTreeSource = serde_json::from_value(source).unwrap();
        source.status_names().iter().any(|known| known.matches(name))
    }

    #[test]
    fn each_in_tree_driver_is_known_by_its_own_and_its_migrated_name() {
        let disk = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d";
        let cases = [
            (
                json!({"awsElasticBlockStore": {"volumeID": "aws://eu-central-1a/vol-0abc"}}),
                "kubernetes.io/aws-ebs/aws://eu-central-1a/vol-0abc".to_owned(),
                "kubernetes.io/csi/ebs.csi.aws.com^vol-0abc".to_owned(),
            ),
            (
                json!({"awsElasticBlockStore": {"volumeID": "vol-0abc"}}),
                "kubernetes.io/aws-ebs/vol-0abc".to_owned(),
                "kubernetes.io/csi/ebs.csi.aws.com^vol-0abc".to_owned(),
            ),
            (
                json!({"gcePersistentDisk": {"pdName": "pd-1"}}),
                "kubernetes.io/gce-pd/pd-1".to_owned(),
                "kubernetes.io/csi/pd.csi.storage.gke.io^projects/UNSPECIFIED/zones/europe-west3-a/disks/pd-1"
                    .to_owned(),
            ),
            (
                json!({"azureDisk": {"diskName": "d", "diskURI": disk}}),
                format!("kubernetes.io/azure-disk/{disk}"),
                format!("kubernetes.io/csi/disk.csi.azure.com^{}", disk.to_lowercase()),
            ),
            (
                json!({"cinder": {"volumeID": "4f-1"}}),
                "kubernetes.io/cinder/4f-1".to_owned(),
                "kubernetes.io/csi/cinder.csi.openstack.org^4f-1".to_owned(),
            ),
            (
                json!({"vsphereVolume": {"volumePath": "[store] kubevols/a.vmdk"}}),
                "kubernetes.io/vsphere-volume/[store] kubevols/a.vmdk".to_owned(),
                "kubernetes.io/csi/csi.vsphere.vmware.com^[store] kubevols/a.vmdk".to_owned(),
            ),
            (
                json!({"portworxVolume": {"volumeID": "77"}}),
                "kubernetes.io/portworx-volume/77".to_owned(),
                "kubernetes.io/csi/pxd.portworx.com^77".to_owned(),
            ),
        ];
        for (source, own, migrated) in cases {
            assert!(matches(source.clone(), &own), "{own}");
            assert!(matches(source.clone(), &migrated), "{migrated}");
            assert!(!matches(source, "kubernetes.io/csi/ebs.csi.aws.com^vol-other"));
        }
        assert!(!matches(
            json!({"gcePersistentDisk": {"pdName": "1"}}),
            "kubernetes.io/csi/pd.csi.storage.gke.io^p/disks/pd-1"
        ));
        assert!(!matches(json!({"nfs": {"path": "/"}}), "kubernetes.io/nfs/x"));
    }
}
