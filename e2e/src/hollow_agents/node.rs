//! What a fake host reads from its Node.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use lockkeeper_channel::Inhibitor;
use lockkeeper_crds::RebootRequired;
use lockkeeper_crds::host::{Cause, DetectorReport, DetectorState};
use lockkeeper_crds::time::{from_kubernetes, whole_seconds};

use super::{
    ACTUATOR_DEAD, AGENT_DEAD, DETECTOR_FAILS, INCAPABLE, INHIBITED, REBOOT_FAILS, REBOOT_HANGS, REBOOT_REQUIRED,
    REBOOT_REQUIRED_SINCE, REPORTS_BOOT_ID, STILL_REQUIRED,
};
use crate::hollow::BOOT_ID;

/// The state of one host; the default is one that is down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HollowNode {
    /// The boot that the kubelet says it is in.
    pub boot_id: String,
    /// The boot it shall be in; down until it is.
    pub next_boot_id: String,
    pub boot_time: Option<DateTime<Utc>>,
    pub os: String,
    pub kernel: String,
    pub required: RebootRequired,
    pub still_required: bool,
    pub incapable: Option<String>,
    pub inhibitor: Option<Inhibitor>,
    pub on_reboot: OnReboot,
    pub programs: Programs,
    pub reports_boot_id: Option<String>,
}

/// What the host does when told to reboot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum OnReboot {
    #[default]
    Works,
    /// It says no, in these words.
    Fails(String),
    /// It says yes and stays up.
    Hangs,
}

/// What runs of us on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Programs {
    #[default]
    Both,
    AgentAlone,
    None,
}

impl HollowNode {
    pub(super) fn of(node: &Node) -> Self {
        let annotation = |key: &str| node.annotations().get(key).cloned();
        let is_true = |key: &str| node.annotations().get(key).is_some_and(|value| value == "true");
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        let boot_id = info.map(|info| info.boot_id.clone()).unwrap_or_default();
        let required = required(annotation(REBOOT_REQUIRED), annotation(REBOOT_REQUIRED_SINCE));
        let required = with_detectors(required, annotation(DETECTOR_FAILS).as_deref());
        // An agent believes no time before the boot, so a host that has asked for long has been up for as long.
        let boot_time = boot_time(node).map(|boot| required.since.map_or(boot, |since| since.min(boot)));
        Self {
            next_boot_id: annotation(BOOT_ID).unwrap_or_else(|| boot_id.clone()),
            boot_id,
            boot_time,
            os: info.map(|info| info.os_image.clone()).unwrap_or_default(),
            kernel: info.map(|info| info.kernel_version.clone()).unwrap_or_default(),
            required,
            still_required: is_true(STILL_REQUIRED),
            incapable: annotation(INCAPABLE),
            inhibitor: annotation(INHIBITED).map(|text| inhibitor(&text)),
            on_reboot: match annotation(REBOOT_FAILS) {
                Some(words) => OnReboot::Fails(words),
                None if is_true(REBOOT_HANGS) => OnReboot::Hangs,
                None => OnReboot::Works,
            },
            programs: match (is_true(AGENT_DEAD), is_true(ACTUATOR_DEAD)) {
                (true, _) => Programs::None,
                (false, true) => Programs::AgentAlone,
                (false, false) => Programs::Both,
            },
            reports_boot_id: annotation(REPORTS_BOOT_ID),
        }
    }

    /// Whether the host is up and an agent runs on it.
    pub(super) fn runs_agent(&self) -> bool {
        !self.boot_id.is_empty() && self.boot_id == self.next_boot_id && self.programs != Programs::None
    }

    /// The boot that an agent on it takes itself to be in.
    pub(super) fn seen_boot_id(&self) -> &str {
        self.reports_boot_id.as_deref().unwrap_or(&self.boot_id)
    }

    /// Keeps the time at which it first asked for a reboot, where the Node does not say.
    pub(super) fn since_first_seen(mut self, before: &Self) -> Self {
        if self.required.required && before.required.required && self.required.reasons == before.required.reasons {
            self.required.since = before.required.since.min(self.required.since);
        }
        self
    }
}

/// A condition that only a boot writes tells when it was.
fn boot_time(node: &Node) -> Option<DateTime<Utc>> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    let memory = conditions
        .iter()
        .find(|condition| condition.type_ == "MemoryPressure")?;
    memory.last_transition_time.as_ref().map(from_kubernetes)
}

fn required(packages: Option<String>, since: Option<String>) -> RebootRequired {
    let Some(packages) = packages else {
        return RebootRequired::default();
    };
    let since = since.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    let mut reasons: Vec<Cause> = packages.split(',').map(|name| Cause(name.trim().to_owned())).collect();
    reasons.sort();
    reasons.dedup();
    RebootRequired {
        required: true,
        since: Some(since.map_or_else(|| whole_seconds(Utc::now()), |time| time.to_utc())),
        // Hollow nodes have no systemd.
        userspace_only: false,
        reasons,
        source: "Debian sentinel".to_owned(),
        failing: Vec::new(),
        detectors: Vec::new(),
    }
}

/// What the host's only detector saw, and one that fails for this reason.
fn with_detectors(required: RebootRequired, failing: Option<&str>) -> RebootRequired {
    let report = |name: &str, state, message: &str| DetectorReport {
        name: name.to_owned(),
        state,
        // The definition accepts no longer one.
        message: message.chars().take(256).collect(),
    };
    let reasons: Vec<&str> = required.reasons.iter().map(|reason| reason.0.as_str()).collect();
    let sentinel = if required.required {
        report("Debian sentinel", DetectorState::Required, &reasons.join(", "))
    } else {
        report("Debian sentinel", DetectorState::NotRequired, "")
    };
    let broken = failing
        .iter()
        .map(|why| report("SUSE sentinel", DetectorState::Failing, why));
    RebootRequired {
        detectors: std::iter::once(sentinel).chain(broken).collect(),
        failing: failing.iter().map(|why| Cause((*why).to_owned())).collect(),
        ..required
    }
}

fn inhibitor(text: &str) -> Inhibitor {
    let (who, why) = text.split_once(": ").unwrap_or((text, "no reason given"));
    Inhibitor {
        who: who.to_owned(),
        why: why.to_owned(),
    }
}
