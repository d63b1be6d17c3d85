//! One hollow node's object.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::{BOOT_ID, HOLLOW, HollowOptions};

/// The object as it is created; kwok fills its status.
pub(super) fn new(index: usize, name: &str, options: &HollowOptions) -> Node {
    let mut labels: BTreeMap<String, String> = [
        HOLLOW,
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if options.zones > 0 {
        labels.insert(
            "topology.kubernetes.io/zone".to_owned(),
            format!("zone-{}", index % options.zones),
        );
    }
    let mut node = Node::default();
    node.metadata.name = Some(name.to_owned());
    node.metadata.labels = Some(labels);
    let mut annotations: BTreeMap<_, _> = options.annotations.iter().cloned().collect();
    annotations.insert(BOOT_ID.to_owned(), new_boot_id());
    node.metadata.annotations = Some(annotations);
    node
}

/// A boot id that looks like the kernel's and was never given out before on this machine.
pub(super) fn new_boot_id() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, nanos) = (now.as_secs() as u32, now.subsec_nanos());
    let (high, low) = (nanos >> 16, nanos & 0xffff);
    let process = u64::from(std::process::id());
    format!(
        "{seconds:08x}-{high:04x}-4{:03x}-8{:03x}-{process:06x}{:06x}",
        low & 0xfff,
        low >> 12,
        count & 0x00ff_ffff
    )
}

/// The boot the node says it is in.
pub fn boot_id(node: &Node) -> Option<&str> {
    let info = node.status.as_ref()?.node_info.as_ref()?;
    Some(info.boot_id.as_str()).filter(|id| !id.is_empty())
}

/// Whether the Ready condition is True.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Ready, and in the boot it shall be in.
pub(super) fn is_up(node: &Node) -> bool {
    is_ready(node) && boot_id(node) == node.annotations().get(BOOT_ID).map(String::as_str)
}
