//! The real agent against a real API server, with the shipped rights and the shipped admission policy.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{HostReport, NodeReboot, NodeRebootSpec, OrderState};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::hollow::{HollowCluster, boot_id};
use lockkeeper_e2e::hollow_agents::{
    ACTUATOR_DEAD, INCAPABLE, INHIBITED, REBOOT_FAILS, REBOOT_REQUIRED, REPORTS_BOOT_ID, write_kubeconfigs,
};
use lockkeeper_e2e::process::{Process, Spec};
use lockkeeper_e2e::workdir::Workdir;
use serde_json::json;
use tokio::time::timeout;

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_mins(3);

struct Bench {
    nodes: HollowCluster,
    agents: Process,
    reboots: Api<NodeReboot>,
    plane: ControlPlane,
    workdir: Workdir,
}

impl Bench {
    async fn new(count: usize) -> Self {
        let workdir = Workdir::new("hollow-agents").unwrap();
        let plane = ControlPlane::start(workdir.path(), Options::default()).await.unwrap();
        plane.install().unwrap();
        let nodes = HollowCluster::start(&plane, count).await.unwrap();
        let kubeconfigs = write_kubeconfigs(&plane, nodes.names()).await.unwrap();
        let bench = Self {
            agents: Process::spawn(agents(&plane, &kubeconfigs)).unwrap(),
            reboots: Api::all(plane.client()),
            nodes,
            plane,
            workdir,
        };
        for name in bench.nodes.names() {
            bench.make(name).await;
        }
        bench
    }

    /// What the operator does for each Node.
    async fn make(&self, name: &str) {
        let node = Api::<Node>::all(self.plane.client()).get(name).await.unwrap();
        let mut object = NodeReboot::new(name, NodeRebootSpec::default());
        object.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.into(),
            uid: node.metadata.uid.unwrap(),
            ..OwnerReference::default()
        }]);
        self.reboots.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn node_boot(&self, name: &str) -> String {
        let node = Api::<Node>::all(self.plane.client()).get(name).await.unwrap();
        boot_id(&node).unwrap().to_owned()
    }

    /// Orders as the operator does: the operation first, whose id and attempt make the order's id.
    async fn order(&self, name: &str, id: &str, action: &str, boot_id: &str) {
        let (operation, attempt) = id.rsplit_once('-').unwrap();
        let attempt: i32 = attempt.parse().unwrap();
        let phase = if action == "Reboot" { "Rebooting" } else { "Preparing" };
        let operation = json!({
            "id": operation, "attempt": attempt, "phase": phase, "policy": "general", "bootIDBefore": boot_id,
            "startedTime": "2026-01-01T00:00:00Z", "settings": {},
        });
        let patch = Patch::Merge(json!({"status": {"operation": operation}}));
        let params = PatchParams::default();
        self.reboots.patch_status(name, &params, &patch).await.unwrap();
        self.patch(name, json!({"id": id, "action": action, "bootID": boot_id}))
            .await;
    }

    async fn withdraw(&self, name: &str) {
        self.patch(name, json!(null)).await;
    }

    async fn patch(&self, name: &str, order: serde_json::Value) {
        let patch = Patch::Merge(json!({"spec": {"order": order}}));
        self.reboots.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until a node's report is as expected, and returns it.
    async fn wait(&self, name: &str, what: &str, good: impl Fn(&HostReport) -> bool + Send + Sync) -> HostReport {
        let condition = |object: Option<&NodeReboot>| report(object).is_some_and(&good);
        let found = timeout(LONG, await_condition(self.reboots.clone(), name, condition)).await;
        let Ok(found) = found else {
            let (object, log) = (self.reboots.get(name).await, self.agents.log_tail(20));
            panic!("{name}: {what} not seen; it is {object:#?}\n{log}");
        };
        report(found.unwrap().as_ref()).unwrap().clone()
    }

    async fn answer(&self, name: &str, id: &str, state: OrderState) -> String {
        let report = self
            .wait(name, &format!("{state:?} to {id}"), |host| {
                host.order
                    .as_ref()
                    .is_some_and(|answer| answer.id == id && answer.state == state)
            })
            .await;
        report.order.unwrap().message
    }
}

fn report(object: Option<&NodeReboot>) -> Option<&HostReport> {
    object?.status.as_ref()?.host.as_ref()
}

fn agents(plane: &ControlPlane, kubeconfigs: &Path) -> Spec {
    Spec::new("hollow-agents", env!("CARGO_BIN_EXE_hollow-agents"), plane.log_dir())
        .arg(format!("--kubeconfig-dir={}", kubeconfigs.display()))
        .arg(format!("--admin-kubeconfig={}", plane.kubeconfig().display()))
        .arg("--facts-seconds=2")
        .arg("--log-level=info,lockkeeper_node_agent=debug")
}

#[tokio::test]
async fn an_agent_reports_answers_and_reboots_under_the_shipped_rights() {
    let mut bench = Bench::new(6).await;
    let names = bench.nodes.names().to_vec();
    reports_and_follows_the_sentinel(&bench, &names[0]).await;
    reboots_once_even_if_killed_in_the_middle(&mut bench, &names[0]).await;
    refuses_with_words(&bench, &names[1..5]).await;
    reports_a_foreign_boot(&bench, &names[5]).await;
    stays_silent_when_idle(&bench).await;
    assert!(!bench.agents.log_tail(10_000).contains("nothing confines this agent"));
    assert!(
        bench
            .agents
            .log_tail(10_000)
            .contains("the admission policy confines this agent")
    );
    makes_do_with_an_object_that_goes_and_comes(&bench, &names[1]).await;
    ends_at_once_when_told(&mut bench).await;
    bench.workdir.passed();
}

async fn reports_and_follows_the_sentinel(bench: &Bench, name: &str) {
    let first = bench.wait(name, "a report", |host| host.reboot_capable).await;
    assert_eq!(first.boot_id, bench.node_boot(name).await);
    assert!(!first.reboot_required.required);
    bench
        .nodes
        .annotate(name, REBOOT_REQUIRED, Some("linux-image-6.12,libc6"))
        .await
        .unwrap();
    let required = bench.wait(name, "required", |host| host.reboot_required.required).await;
    assert_eq!(required.reboot_required.reasons[0].0, "libc6");
}

async fn reboots_once_even_if_killed_in_the_middle(bench: &mut Bench, name: &str) {
    let before = bench.node_boot(name).await;
    bench.order(name, "op-0", "Prepare", &before).await;
    assert_eq!(bench.answer(name, "op-0", OrderState::Ready).await, "");
    bench.withdraw(name).await;
    bench.answer(name, "op-0", OrderState::Withdrawn).await;
    bench.order(name, "op-1", "Prepare", &before).await;
    bench.answer(name, "op-1", OrderState::Ready).await;
    bench.agents.kill();
    bench.order(name, "op-1", "Reboot", &before).await;
    bench.agents.restart().unwrap();
    let after = bench.wait(name, "another boot", |host| host.boot_id != before).await;
    assert!(!after.reboot_required.required, "a reboot empties /run");
    assert_eq!(after.boot_id, bench.node_boot(name).await);
    assert!(after.boot_time.is_some());
    // The order still stands, for a boot that is over, and a new process sees it for the first time.
    bench.agents.kill();
    bench.agents.restart().unwrap();
    bench
        .nodes
        .annotate(name, REBOOT_REQUIRED, Some("again"))
        .await
        .unwrap();
    let later = bench
        .wait(name, "required again", |host| host.reboot_required.required)
        .await;
    assert_eq!(later.boot_id, after.boot_id);
    bench.withdraw(name).await;
}

async fn refuses_with_words(bench: &Bench, names: &[String]) {
    for (name, annotation, action, state, words) in [
        (
            &names[0],
            INCAPABLE,
            "Prepare",
            OrderState::Refused,
            "polkit wants a password",
        ),
        (
            &names[1],
            INHIBITED,
            "Prepare",
            OrderState::Refused,
            "shutdown inhibited by dpkg: mid-update",
        ),
        (
            &names[2],
            ACTUATOR_DEAD,
            "Prepare",
            OrderState::Refused,
            "the actuator does not respond",
        ),
        (&names[3], REBOOT_FAILS, "Reboot", OrderState::Failed, "Access denied"),
    ] {
        let value = match annotation {
            INCAPABLE => "polkit wants a password",
            INHIBITED => "dpkg: mid-update",
            REBOOT_FAILS => "Access denied",
            _ => "true",
        };
        bench.nodes.annotate(name, annotation, Some(value)).await.unwrap();
        // The host sees its Node and the agent its order by watches of their own: what was said later and is reported
        // shows that the host knows.
        bench
            .nodes
            .annotate(name, REBOOT_REQUIRED, Some("known"))
            .await
            .unwrap();
        bench.wait(name, "required", |host| host.reboot_required.required).await;
        let boot = bench.node_boot(name).await;
        bench.order(name, "op-1", action, &boot).await;
        let message = bench.answer(name, "op-1", state).await;
        assert!(message.contains(words), "{name}: {message}");
        assert_eq!(bench.node_boot(name).await, boot);
    }
}

async fn reports_a_foreign_boot(bench: &Bench, name: &str) {
    bench.wait(name, "a report", |host| host.reboot_capable).await;
    bench
        .nodes
        .annotate(name, REPORTS_BOOT_ID, Some("of-another-host"))
        .await
        .unwrap();
    bench
        .wait(name, "a foreign boot", |host| host.boot_id == "of-another-host")
        .await;
}

/// P9: after everything is said, nothing is written.
async fn stays_silent_when_idle(bench: &Bench) {
    let writes = |bench: &Bench| {
        let requests = bench.plane.requests().unwrap();
        let agents = |request: &&Request| request.program() == "lockkeeper-node-agent";
        requests
            .iter()
            .filter(agents)
            .filter(|request| request.writes())
            .count()
    };
    assert!(writes(bench) > 0);
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let before = writes(bench);
        tokio::time::sleep(Duration::from_secs(7)).await;
        let after = writes(bench);
        if after == before {
            return;
        }
        // What was under way is said within this, on a busy machine too.
        assert!(
            tokio::time::Instant::now() < end,
            "{before} writes, and {after} soon after"
        );
    }
}

async fn makes_do_with_an_object_that_goes_and_comes(bench: &Bench, name: &str) {
    bench
        .reboots
        .delete(name, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    bench.make(name).await;
    let report = bench.wait(name, "a report on the new object", |_| true).await;
    assert_eq!(report.boot_id, bench.node_boot(name).await);
    assert_eq!(bench.reboots.get(name).await.unwrap().name_any(), name);
}

async fn ends_at_once_when_told(bench: &mut Bench) {
    let status = bench.agents.terminate(Duration::from_secs(30)).await.unwrap();
    assert!(status.success(), "{status}");
}
