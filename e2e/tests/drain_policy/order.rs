//! In which order pods leave, and when the first one does.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use lockkeeper_crds::names;
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::hollow::{RUN_SECONDS, TERMINATION_SECONDS};
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::scene::{LONG, POLL, change, make, name, ours, runs, taints, template};

pub(super) async fn pods_leave_in_order_after_load_balancers_had_their_time(stack: &Stack) {
    let (node, client) = (name(stack, 2), stack.plane.client());
    workload::pin(&client, node, 2).await.unwrap();
    let late = json!({
        "metadata": {"name": "late"},
        "spec": {"selector": {"matchLabels": {"app": "late"}}, "template": template("late", node, &json!({TERMINATION_SECONDS: "1"}))},
    });
    make(&Api::<Deployment>::namespaced(client.clone(), "default"), late).await;
    let mut batch = template("batch", node, &json!({RUN_SECONDS: "20"}));
    batch["spec"]["restartPolicy"] = json!("Never");
    let batch = json!({"metadata": {"name": "batch"}, "spec": {"template": batch}});
    make(&Api::<Job>::namespaced(client.clone(), "default"), batch).await;
    let each = json!({
        "metadata": {"name": "each"},
        "spec": {"selector": {"matchLabels": {"app": "each"}}, "template": template("each", node, &json!({}))},
    });
    make(&Api::<DaemonSet>::namespaced(client.clone(), "default"), each).await;
    for app in ["late", "each"] {
        runs(&client, "", &format!("app={app}")).await;
    }
    change(
        stack,
        &json!({"drain": {
            "excludeFromLoadBalancersSeconds": 4,
            "daemonSetsLast": true,
            "rules": [
                {"podSelector": {"matchLabels": {"app": "batch"}}, "behavior": "WaitCompleted"},
                {"podSelector": {"matchLabels": {"app": "late"}}, "order": 10},
            ],
        }}),
    );
    stack.stage_cause(node, "order").await.unwrap();
    let mut tainted = false;
    let done = async {
        while !is_done(&stack.reboot(node).await.unwrap()) {
            tainted |= taints(stack, node).await.contains(&names::TAINT_REBOOTING.to_owned());
            sleep(POLL).await;
        }
    };
    timeout(LONG, done).await.expect("rebooted");
    assert!(tainted, "the taint was there");
    assert_eq!(taints(stack, node).await, Vec::<String>::new());
    let evicted: Vec<Request> = stack.evictions().unwrap();
    let of = |app: &str| {
        let found = evicted.iter().find(|request| request.name.starts_with(app));
        found.map(|request| request.received)
    };
    let (pinned, late, each) = (
        of("pinned-hollow-0002").unwrap(),
        of("late").unwrap(),
        of("each").unwrap(),
    );
    let requests = stack.plane.requests().unwrap();
    let mut marks = requests
        .iter()
        .filter(|r| ours(r) && r.writes() && r.resource == "nodes" && r.name == node);
    let marked = marks.next().unwrap().received;
    assert!(
        (pinned - marked).num_milliseconds() >= 4000,
        "evicted {} after the cordon",
        pinned - marked
    );
    // The hollow kubelet's delete is the end of a pod.
    let mut ends = requests
        .iter()
        .filter(|r| r.verb == "delete" && r.resource == "pods" && r.name.starts_with("pinned-hollow-0002"));
    let gone = ends.next().expect("it ended").received;
    assert!(late > gone, "asked {} before the first order was gone", gone - late);
    assert!(each > late, "DaemonSets are last");
    assert_eq!(of("batch"), None, "a job completes");
    runs(&client, "", "app=each").await;
}
