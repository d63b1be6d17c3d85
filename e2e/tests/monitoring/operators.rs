//! Faults of the operator itself, one after the other.

use std::time::Duration;

use lockkeeper_crds::names;
use lockkeeper_e2e::process::{Process, Spec, free_port};
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use super::faults::{self, patch};
use super::{LONG, Watched};

/// Its right on the Lease is gone: it runs and does not lead, and the API server refuses it.
pub(crate) async fn no_leader(stack: &Stack, watched: &Watched) {
    watched.webhook.forget();
    let (kind, own) = ("rolebinding", "lockkeeper-operator");
    let namespace = format!("--namespace={}", names::NAMESPACE);
    let binding = stack
        .plane
        .kubectl(&["get", kind, own, &namespace, "-o", "json"])
        .unwrap();
    stack.plane.kubectl(&["delete", kind, own, &namespace]).unwrap();
    let alerts: [(&str, &[(&str, &str)]); 2] = [("LockkeeperNoLeader", &[]), ("LockkeeperApiErrors", &[])];
    watched.all_fire(&alerts).await;
    let file = stack.plane.dir().join("binding.json");
    std::fs::write(&file, clean(&binding)).unwrap();
    stack.plane.kubectl(&["create", "-f", &file.to_string_lossy()]).unwrap();
    watched.all_resolve(&alerts).await;
}

/// An object as it can be made again.
fn clean(object: &str) -> String {
    let mut object: Value = serde_json::from_str(object).unwrap();
    let metadata = json!({"name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"]});
    object["metadata"] = metadata;
    object.to_string()
}

/// Another operator runs with another Lease.
pub(crate) async fn two_leaders(stack: &Stack, watched: &Watched) {
    watched.webhook.forget();
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let spec = Spec::new(
        "stranger",
        program("lockkeeper-operator").unwrap(),
        stack.plane.log_dir(),
    )
    .arg(format!("--kubeconfig={}", stack.plane.kubeconfig().display()))
    .arg(format!("--http-address={address}"))
    .arg("--lease-namespace=default")
    .arg("--pod-name=stranger");
    let mut stranger = Process::spawn(spec).unwrap();
    let mut targets = stack.targets();
    targets.push(("stranger".to_owned(), address));
    watched.monitoring.scrape(&targets).unwrap();
    let alerts: [(&str, &[(&str, &str)]); 1] = [("LockkeeperMultipleLeaders", &[("severity", "critical")])];
    watched.all_fire(&alerts).await;
    stranger.terminate(Duration::from_secs(15)).await.unwrap();
    watched.monitoring.scrape(&stack.targets()).unwrap();
    watched.all_resolve(&alerts).await;
}

/// It may not read policies when it starts: nothing starts, and it says so.
pub(crate) async fn blindness(stack: &mut Stack, watched: &Watched) {
    watched.webhook.forget();
    let role = stack
        .plane
        .kubectl(&["get", "clusterrole", "lockkeeper-operator", "-o", "json"])
        .unwrap();
    let role: Value = serde_json::from_str(&role).unwrap();
    let rules = role["rules"].as_array().unwrap().clone();
    let fewer: Vec<&Value> = rules
        .iter()
        .filter(|rule| rule["resources"] != json!(["rebootpolicies"]))
        .collect();
    assert_eq!(fewer.len() + 1, rules.len());
    patch(stack, "clusterrole", "lockkeeper-operator", &json!({"rules": fewer}));
    let mut before = stack.operators.remove(0);
    before.terminate(Duration::from_secs(15)).await.unwrap();
    stack.start_operator().unwrap();
    watched.monitoring.scrape(&stack.targets()).unwrap();
    let alerts: [(&str, &[(&str, &str)]); 1] = [("LockkeeperViewIncomplete", &[])];
    watched.all_fire(&alerts).await;
    patch(stack, "clusterrole", "lockkeeper-operator", &json!({"rules": rules}));
    watched.all_resolve(&alerts).await;
}

/// It is gone, and comes back; meanwhile a window closes on a node that waits, which the next one notices.
pub(crate) async fn no_operator(stack: &mut Stack, watched: &Watched) {
    faults::wait_held(stack, "blind").await;
    watched.webhook.forget();
    let mut last = stack.operators.remove(0);
    last.kill();
    let alerts: [(&str, &[(&str, &str)]); 1] = [("LockkeeperOperatorDown", &[("severity", "critical")])];
    watched.all_fire(&alerts).await;
    faults::freeze(stack, "blind");
    stack.start_operator().unwrap();
    watched.monitoring.scrape(&stack.targets()).unwrap();
    watched.all_resolve(&alerts).await;
    watched
        .all_fire(&[("LockkeeperWindowMissed", &[("policy", "blind")])])
        .await;
    watched
        .monitoring
        .wait("max(lockkeeper_leader) == 1", LONG, |found| !found.is_empty())
        .await
        .unwrap();
}

/// One with a bug takes over: it would start a node outside its windows. What stands behind it refuses, and tells.
pub(crate) async fn a_bug(stack: &mut Stack, watched: &Watched) {
    watched.webhook.forget();
    let mut sound = stack.operators.remove(0);
    sound.terminate(Duration::from_secs(15)).await.unwrap();
    let node = faults::release(stack, "blind").await;
    let careless = |mut spec: Spec| {
        spec.program = program("careless-operator").unwrap();
        spec
    };
    stack.start_operator_with(careless).unwrap();
    watched.monitoring.scrape(&stack.targets()).unwrap();
    let alerts: [(&str, &[(&str, &str)]); 1] = [("LockkeeperPlanRefused", &[("severity", "warning")])];
    watched.all_fire(&alerts).await;
    let events = [
        "get",
        "events",
        "--namespace=default",
        "--field-selector=reason=PlanRefused",
    ];
    let told = stack.plane.kubectl(&events).unwrap();
    assert!(told.contains("S2: ") && told.contains(&node), "{told}");
    let holders = ["get", "rlock", names::LOCK, "--output=jsonpath={.status.holders}"];
    assert!(!stack.plane.kubectl(&holders).unwrap().contains(&node), "it has a slot");
    let cordoned = ["get", "node", &node, "--output=jsonpath={.spec.unschedulable}"];
    assert_eq!(stack.plane.kubectl(&cordoned).unwrap(), "", "it is cordoned");
    let mut careless = stack.operators.remove(0);
    careless.terminate(Duration::from_secs(15)).await.unwrap();
    stack.start_operator().unwrap();
    watched.monitoring.scrape(&stack.targets()).unwrap();
    watched.all_resolve(&alerts).await;
}
