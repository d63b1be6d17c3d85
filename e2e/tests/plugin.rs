//! The plugin as people run it, against a real API server; the operator's answers are given by hand.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, names};
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workdir::Workdir;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_mins(3);
const TIME: &str = "2026-11-21T12:00:00Z";

#[tokio::test]
async fn each_command_of_the_plugin_has_its_output_and_exit_code() {
    let mut workdir = Workdir::new("plugin").unwrap();
    let mut plane = ControlPlane::start(workdir.path(), Options::default()).await.unwrap();
    says_in_one_line_what_is_missing(&plane).await;
    plane.install().unwrap();
    tells_a_reader_without_rights_which_role_to_ask_for(&plane).await;
    plane.policy("general", json!({})).await.unwrap();
    for node in ["node-1", "node-2"] {
        let spec = NodeRebootSpec {
            policy: Some("general".to_owned()),
            order: None,
        };
        let reboot = NodeReboot::new(node, spec);
        reboots(&plane).create(&PostParams::default(), &reboot).await.unwrap();
    }
    says_a_word_and_waits_for_the_answer(&plane).await;
    refuses_where_nothing_is_to_be_done(&plane).await;
    follows_a_rollout_through_an_outage_until_it_is_done(&mut plane).await;
    let requests = plane.requests().unwrap();
    let ours: Vec<_> = requests
        .iter()
        .filter(|request| request.program() == "kubectl-lockkeeper")
        .collect();
    assert!(
        ours.iter().any(|request| request.verb == "watch"),
        "told apart in the audit log"
    );
    assert!(
        ours.iter()
            .filter(|request| request.writes())
            .all(|request| request.verb == "patch")
    );
    workdir.passed();
}

async fn says_in_one_line_what_is_missing(plane: &ControlPlane) {
    let said = fails(plane, 1, &["status"]).await;
    assert!(
        said.contains("not installed") && said.contains("kubectl apply --server-side -f"),
        "{said}"
    );
    let said = fails(plane, 1, &["explain", "node-1"]).await;
    assert!(said.contains("not installed"), "{said}");
    let said = fails(plane, 1, &["status", "--context", "nowhere"]).await;
    assert!(
        said.contains("nowhere") && said.contains("kubectl config get-contexts"),
        "{said}"
    );
    let said = fails_with(&plane.dir().join("no-such-file"), 1, &["status"]).await;
    assert!(said.contains("no-such-file"), "{said}");
    let away = plane.dir().join("away.kubeconfig");
    let there = std::fs::read_to_string(plane.kubeconfig()).unwrap();
    std::fs::write(&away, there.replace(&format!(":{}", plane.port()), ":1")).unwrap();
    let said = fails_with(&away, 1, &["status"]).await;
    assert!(said.contains("cannot reach https://127.0.0.1:1"), "{said}");
    fails(plane, 2, &["status", "--until-done"]).await;
}

async fn tells_a_reader_without_rights_which_role_to_ask_for(plane: &ControlPlane) {
    let account = Account {
        namespace: "kube-system",
        name: "default",
    };
    // The controller manager makes the account some time after it has started.
    let kubeconfig = async {
        loop {
            match plane.token_kubeconfig("no-rights", account, Bound::Nothing).await {
                Ok(path) => return path,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let kubeconfig = timeout(LONG, kubeconfig).await.unwrap();
    let said = fails_with(&kubeconfig, 1, &["status"]).await;
    assert!(said.contains("forbidden") && said.contains("lockkeeper-view"), "{said}");
}

async fn says_a_word_and_waits_for_the_answer(plane: &ControlPlane) {
    hold(plane, "node-1", "7f3c").await;
    for (verb, result, message, exit) in [
        (
            "cancel",
            "Refused",
            "the reboot is already ordered and cannot be cancelled",
            5,
        ),
        ("retry", "Accepted", "the node is prepared again", 0),
    ] {
        let operator = async {
            let reboot = await_condition(reboots(plane), "node-1", |reboot: Option<&NodeReboot>| {
                reboot.is_some_and(|reboot| reboot.annotations().contains_key(names::COMMAND))
            });
            let reboot = timeout(LONG, reboot).await.unwrap().unwrap().unwrap();
            let answer =
                json!({"verb": verb, "operationID": "7f3c", "time": TIME, "result": result, "message": message});
            status(plane, "node-1", json!({"lastCommand": answer})).await;
            command(plane, "node-1", Value::Null).await;
            reboot.annotations()[names::COMMAND].clone()
        };
        let arguments = [verb, "node/node-1"];
        let (written, said) = tokio::join!(operator, run(plane, &arguments));
        assert_eq!(written, format!("{verb} 7f3c"));
        assert_eq!(said.status.code(), Some(exit), "{said:?}");
        let said = text(&said.stdout) + &text(&said.stderr);
        assert!(said.contains(message) && said.lines().count() == 1, "{said}");
    }
    let reboot = reboots(plane).get("node-1").await.unwrap();
    let managers: Vec<_> = reboot
        .managed_fields()
        .iter()
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    assert!(!managers.contains(&"unknown"), "each writer names itself: {managers:?}");

    let said = fails(plane, 3, &["release", "node-1", "--timeout=1"]).await;
    assert!(
        said.contains("did not answer") && said.contains("the command stays queued"),
        "{said}"
    );
    let reboot = reboots(plane).get("node-1").await.unwrap();
    assert_eq!(reboot.annotations()[names::COMMAND], "release 7f3c");
    command(plane, "node-1", Value::Null).await;
}

async fn refuses_where_nothing_is_to_be_done(plane: &ControlPlane) {
    let waiting = json!({"reason": "NoFreeSlot", "message": "no free slot: node-1 in progress (1 of 1, policy limit)", "sinceTime": TIME});
    status(plane, "node-2", json!({"state": "Pending", "waiting": waiting})).await;
    let said = fails(plane, 5, &["retry", "node-2"]).await;
    assert!(
        said.contains("no operation is in progress on this node") && said.contains("no free slot: node-1"),
        "{said}"
    );
    let said = fails(plane, 1, &["release", "node-3"]).await;
    assert!(said.contains("did you mean node-1, node-2?"), "{said}");
    let said = fails(plane, 1, &["status", "--policy", "genera"]).await;
    assert!(said.contains("did you mean general?"), "{said}");
}

async fn follows_a_rollout_through_an_outage_until_it_is_done(plane: &mut ControlPlane) {
    let said = fails(plane, 3, &["status", "--watch", "--until-done", "--timeout=5"]).await;
    assert!(said.contains("timed out after 5 s; node-1 Draining"), "{said}");
    let log = plane.dir().join("watch.log");
    let mut watch = plugin(
        &plane.kubeconfig(),
        &["status", "--watch", "--until-done", "--timeout=600"],
    )
    .stdout(std::fs::File::create(&log).unwrap())
    .spawn()
    .unwrap();
    told(&log, "node-2").await;
    plane.stop_api_server();
    told(&log, "the API server does not answer").await;
    plane.start_api_server().await.unwrap();
    for node in ["node-1", "node-2"] {
        let record = json!({"operationID": "7f3c", "outcome": "Succeeded", "startedTime": TIME, "endedTime": TIME,
            "downSeconds": 41, "bootIDBefore": "826de3c9-1", "bootIDAfter": "29156efd-2"});
        status(
            plane,
            node,
            json!({"state": "UpToDate", "operation": null, "waiting": null, "history": [record]}),
        )
        .await;
    }
    let end = timeout(LONG, watch.wait()).await.expect("ends by itself").unwrap();
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(end.code(), Some(0), "{said}");
    for node in ["node-1", "node-2"] {
        assert!(
            said.contains(&format!(
                "{node} UpToDate   rebooted: down 41 s, boot 826de3c9 -> 29156efd"
            )),
            "{said}"
        );
    }
    assert!(!said.contains('\x1b'), "plain lines where there is no terminal: {said}");
    let json: Value = serde_json::from_slice(&run(plane, &["status", "-o", "json"]).await.stdout).unwrap();
    assert_eq!(json["policies"][0]["upToDate"], 2);
}

async fn told(log: &Path, word: &str) {
    let told = async {
        while !std::fs::read_to_string(log).unwrap().contains(word) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, told)
        .await
        .unwrap_or_else(|_| panic!("no word of \"{word}\": {}", std::fs::read_to_string(log).unwrap()));
}

/// An operation holds the node.
async fn hold(plane: &ControlPlane, node: &str, id: &str) {
    let settings =
        json!({"drain": {"timeoutSeconds": 900}, "reboot": {"timeoutSeconds": 900}, "requireAgentSeconds": 60});
    let operation = json!({"id": id, "phase": "Draining", "policy": "general", "bootIDBefore": "826de3c9-1",
        "startedTime": TIME, "cordonedTime": TIME, "settings": settings});
    status(plane, node, json!({"state": "Draining", "operation": operation})).await;
}

async fn status(plane: &ControlPlane, node: &str, status: Value) {
    let params = PatchParams {
        field_manager: Some(names::OPERATOR_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": status}));
    reboots(plane).patch_status(node, &params, &patch).await.unwrap();
}

async fn command(plane: &ControlPlane, node: &str, value: Value) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {names::COMMAND: value}}}));
    let params = PatchParams {
        field_manager: Some(names::OPERATOR_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    reboots(plane).patch(node, &params, &patch).await.unwrap();
}

fn reboots(plane: &ControlPlane) -> Api<NodeReboot> {
    Api::all(plane.client())
}

fn plugin(kubeconfig: &Path, arguments: &[&str]) -> Command {
    let program: PathBuf = program("kubectl-lockkeeper").unwrap();
    let mut command = Command::new(program);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(plane: &ControlPlane, arguments: &[&str]) -> Output {
    plugin(&plane.kubeconfig(), arguments).output().await.unwrap()
}

/// Runs it, and returns its one line of error.
async fn fails(plane: &ControlPlane, exit: i32, arguments: &[&str]) -> String {
    fails_with(&plane.kubeconfig(), exit, arguments).await
}

async fn fails_with(kubeconfig: &Path, exit: i32, arguments: &[&str]) -> String {
    let output = plugin(kubeconfig, arguments).output().await.unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    assert!(exit == 2 || said.lines().count() == 1, "{arguments:?}: {said}");
    said
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
