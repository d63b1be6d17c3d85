//! The agent's pod as shipped on a real node: real kubelet, containerd, logind, D-Bus and kernel.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use lockkeeper_crds::{HostReport, NodeReboot, NodeRebootSpec, OrderState};
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::vm::{VmCluster, VmOptions, image};
use lockkeeper_e2e::workdir::Workdir;
use serde_json::json;
use tokio::time::timeout;

/// Emulated on a busy machine; alone a node needs half a minute.
const LIMIT: Duration = Duration::from_mins(5);
const NODE: &str = "node-1";

struct Bench {
    nodes: VmCluster,
    reboots: Api<NodeReboot>,
    plane: ControlPlane,
    workdir: Workdir,
}

impl Bench {
    async fn new() -> Self {
        let images = image::containers(&["pause", "node-agent"]).unwrap();
        let workdir = Workdir::new("agent-vm").unwrap();
        let plane = ControlPlane::start(workdir.path(), Options::default()).await.unwrap();
        plane.install().unwrap();
        let options = VmOptions {
            count: 1,
            images,
            ..VmOptions::default()
        };
        let mut nodes = VmCluster::start(&plane, &options).unwrap();
        nodes.wait_ready(LIMIT).await.unwrap();
        let reboots: Api<NodeReboot> = Api::all(plane.client());
        let node = Api::<Node>::all(plane.client()).get(NODE).await.unwrap();
        let mut object = NodeReboot::new(NODE, NodeRebootSpec::default());
        object.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: NODE.into(),
            uid: node.metadata.uid.unwrap(),
            ..OwnerReference::default()
        }]);
        reboots.create(&PostParams::default(), &object).await.unwrap();
        Self {
            nodes,
            reboots,
            plane,
            workdir,
        }
    }

    async fn order(&self, id: &str, action: &str, boot_id: &str) {
        let patch = Patch::Merge(json!({"spec": {"order": {"id": id, "action": action, "bootID": boot_id}}}));
        self.reboots.patch(NODE, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn wait(&self, what: &str, good: impl Fn(&HostReport) -> bool + Send + Sync) -> HostReport {
        let condition = |object: Option<&NodeReboot>| report(object).is_some_and(&good);
        let found = timeout(LIMIT, await_condition(self.reboots.clone(), NODE, condition)).await;
        let Ok(found) = found else {
            let object = self.reboots.get(NODE).await;
            panic!("{what} not seen; it is {object:#?}\n{}", self.logs());
        };
        report(found.unwrap().as_ref()).unwrap().clone()
    }

    async fn answer(&self, id: &str, state: OrderState) -> String {
        let good = |host: &HostReport| {
            let answer = host.order.as_ref();
            answer.is_some_and(|answer| answer.id == id && answer.state == state)
        };
        let report = self.wait(&format!("{state:?} to {id}"), good).await;
        report.order.unwrap().message
    }

    fn logs(&self) -> String {
        let logs = self.plane.kubectl(&[
            "logs",
            "--namespace=lockkeeper-system",
            "daemonset/lockkeeper-node-agent",
            "--all-containers",
            "--prefix",
        ]);
        logs.unwrap_or_else(|error| format!("no logs: {error:#}"))
    }

    async fn exec(&self, command: &str) -> String {
        self.nodes.exec(NODE, command).await.unwrap()
    }
}

fn report(object: Option<&NodeReboot>) -> Option<&HostReport> {
    object?.status.as_ref()?.host.as_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_pod_reports_refuses_and_reboots_a_real_node_once() {
    let mut bench = Bench::new().await;
    let first = bench.wait("a report", |host| host.reboot_capable).await;
    assert_eq!(first.boot_id, bench.nodes.boot_id(NODE).await.unwrap());
    assert!(first.os.contains("Debian"), "{}", first.os);
    assert!(
        first.inhibitors.is_empty(),
        "the kubelet's delay lock blocks nothing: {:?}",
        first.inhibitors
    );
    assert!(!first.reboot_required.required);
    runs_without_rights(&bench).await;

    bench
        .nodes
        .stage_update(NODE, &["linux-image-6.12", "libc6"])
        .await
        .unwrap();
    let asks = bench.wait("required", |host| host.reboot_required.required).await;
    assert_eq!(asks.reboot_required.source, "Debian sentinel");
    assert_eq!(asks.reboot_required.reasons[0].0, "libc6");

    refuses_while_a_program_asks_not_to(&bench, &first.boot_id).await;
    reboots_once(&mut bench, &first).await;
    assert!(!bench.logs().contains("nothing confines this agent"));
    bench.workdir.passed();
}

/// P8: neither container has a capability, and the one with the token is not root.
async fn runs_without_rights(bench: &Bench) {
    let programs = bench
        .exec(
            "for p in $(pidof lockkeeper-node-agent); do \
             awk -v args=\"$(tr '\\0' ' ' </proc/$p/cmdline)\" \
             '/^Uid|^CapEff|^CapPrm|^VmRSS|^NoNewPrivs/ {printf \"%s%s \", $1, $2} END {print args}' /proc/$p/status; done",
        )
        .await;
    eprintln!("{programs}");
    let line = |word: &str| {
        programs
            .lines()
            .find(|line| line.contains(word))
            .unwrap_or_default()
            .to_owned()
    };
    let (agent, actuator) = (line(" agent "), line(" actuator "));
    assert!(agent.contains("Uid:65532"), "{programs}");
    assert!(actuator.contains("Uid:0"), "{programs}");
    for program in [agent, actuator] {
        assert!(
            program.contains("CapEff:0000000000000000") && program.contains("CapPrm:0000000000000000"),
            "{program}"
        );
        assert!(program.contains("NoNewPrivs:1"), "{program}");
    }
}

async fn refuses_while_a_program_asks_not_to(bench: &Bench, boot_id: &str) {
    bench
        .exec(
            "systemd-run --unit=busy systemd-inhibit --what=shutdown --mode=block --who=dpkg --why=mid-update sleep 600; \
             until systemd-inhibit --list | grep -q mid-update; do sleep 0.2; done",
        )
        .await;
    bench.order("op-0", "Prepare", boot_id).await;
    let words = bench.answer("op-0", OrderState::Refused).await;
    assert_eq!(words, "dpkg asks not to shut down: mid-update; wait for it, or end it");
    bench.order("op-1", "Reboot", boot_id).await;
    let words = bench.answer("op-1", OrderState::Refused).await;
    assert_eq!(words, "dpkg asks not to shut down: mid-update");
    bench.exec("systemctl stop busy").await;
    bench.order("op-2", "Prepare", boot_id).await;
    assert_eq!(bench.answer("op-2", OrderState::Ready).await, "");
}

async fn reboots_once(bench: &mut Bench, before: &HostReport) {
    bench.order("op-2", "Reboot", &before.boot_id).await;
    bench.nodes.wait_new_boot(NODE, &before.boot_id, LIMIT).await.unwrap();
    let after = bench
        .wait("a report of the new boot", |host| host.boot_id != before.boot_id)
        .await;
    assert!(!after.reboot_required.required, "a reboot empties /run");
    assert!(after.boot_time > before.boot_time);
    let capable = bench.wait("capable again", |host| host.reboot_capable).await;
    eprintln!("{capable:#?}");
    // The order still stands, and nobody obeys it in the boot after.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.nodes.boot_id(NODE).await.unwrap(), after.boot_id);
}
