//! Invalid input, missing rights and manual edits of our objects: each is reported, and no node reboots because of it.

use std::path::Path;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, condition, names};
use lockkeeper_e2e::hollow_agents::{REPORTS_BOOT_ID, write_kubeconfigs};
use lockkeeper_e2e::process::{Process, Spec, free_port};
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::{Stack, http_get, is_done};
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workload;
use serde_json::{Value, json};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

#[tokio::test]
async fn invalid_input_is_reported_and_reboots_no_node() {
    let mut stack = Stack::start("bad-input", 5, 1).await.unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    stack.plane.policy("general", json!({})).await.unwrap();
    let stranger = name(&stack, 4);
    stack
        .nodes
        .annotate(stranger, REPORTS_BOOT_ID, Some("0badb007-0000-4000-8000-000000000000"))
        .await
        .unwrap();
    stack.stage_cause(stranger, "stranger").await.unwrap();
    what_makes_no_sense_is_refused_at_admission(&stack);
    a_node_of_two_policies_is_rebooted_under_none(&stack, &recorder).await;
    a_schedule_that_never_opens_or_cannot_be_read_starts_nothing(&stack, &recorder).await;
    corrected_the_policy_goes_on(&stack).await;
    a_lock_that_was_edited_is_put_right(&stack, &recorder).await;
    a_node_that_is_made_again_is_another_one(&stack).await;
    operators_that_cannot_work_say_why_and_stay_or_end(&stack).await;
    a_report_of_another_boot_reboots_no_node(&stack, &recorder).await;
    recorder.verdict(1, 0).await.unwrap();
    without_its_kinds_an_operator_waits_and_says_what_to_apply(&stack).await;
    stack.workdir.passed();
}

fn what_makes_no_sense_is_refused_at_admission(stack: &Stack) {
    let window = |schedule: &str, zone: &str| json!({"windows": [{"schedule": schedule, "durationSeconds": 3600, "timeZone": zone}]});
    let selector = |expression: Value| json!({"nodeSelector": {"matchExpressions": [expression]}});
    for (spec, field, words) in [
        (
            window("0 22 * * *", "Europe/Berlim"),
            "spec.windows[0].timeZone",
            "Europe/Berlim",
        ),
        (
            window("0 22 * * *", "Local"),
            "spec.windows[0].timeZone",
            "not an IANA time zone such as Europe/Berlin",
        ),
        (
            window("0 25 * * *", "UTC"),
            "spec.windows[0].schedule",
            "write five fields of cron",
        ),
        (
            json!({"disruption": {"maxInProgress": "101%"}}),
            "spec.disruption.maxInProgress",
            "should match '^(100|[1-9]?[0-9])%$'",
        ),
        (
            json!({"drain": {"timeoutSeconds": -1}}),
            "spec.drain.timeoutSeconds",
            "should be greater than or equal to 10",
        ),
        (
            json!({"nodeSelector": {"matchLabels": {"": "x"}}}),
            "spec.nodeSelector.matchLabels",
            "a label key must not be empty",
        ),
        (
            selector(json!({"key": "zone", "operator": "In"})),
            "spec.nodeSelector.matchExpressions[0]",
            "In and NotIn need values, Exists and DoesNotExist take none",
        ),
    ] {
        let said = refused(stack, "RebootPolicy", "nonsense", &spec);
        assert!(said.contains(field) && said.contains(words), "{spec}: {said}");
    }
    let said = refused(stack, "RebootLock", "another", &json!({}));
    assert!(said.contains("there is one lock, named cluster"), "{said}");
}

/// Creates an object, which must not work, and returns what kubectl says.
fn refused(stack: &Stack, kind: &str, name: &str, spec: &Value) -> String {
    let object =
        json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let file = stack.plane.dir().join("nonsense.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let created = stack.plane.kubectl(&["create", "-f", &file.to_string_lossy()]);
    let error = created.expect_err(&format!("{spec} was taken"));
    format!("{error:#}")
}

async fn a_node_of_two_policies_is_rebooted_under_none(stack: &Stack, recorder: &Recorder) {
    stack.plane.policy("general-too", json!({})).await.unwrap();
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    until("both policies are seen", async || {
        policies.get("general-too").await.unwrap().status.is_some()
    })
    .await;
    stack.stage_cause(name(stack, 0), "conflict").await.unwrap();
    let words = waits(stack, name(stack, 0), "PolicyConflict").await;
    assert_eq!(
        words,
        "selected by more than one policy (general, general-too); a node must match exactly one"
    );
    assert_eq!(recorder.seen().order, Vec::<String>::new());
}

async fn a_schedule_that_never_opens_or_cannot_be_read_starts_nothing(stack: &Stack, recorder: &Recorder) {
    // The API server knows the zone Factory, which is no place.
    for (schedule, zone, words) in [
        ("0 0 31 FEB *", "UTC", "no window will open again"),
        ("0 22 * * *", "Factory", "Factory"),
    ] {
        let windows = json!([{"schedule": schedule, "durationSeconds": 3600, "timeZone": zone}]);
        change(stack, &json!({"windows": windows}));
        if schedule.contains("31") {
            stack.plane.kubectl(&["delete", "rbp", "general-too"]).unwrap();
        }
        waits_with(stack, name(stack, 0), "OutsideWindow", words).await;
    }
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    let invalid = |policy: &RebootPolicy| {
        let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice());
        let ready = conditions.and_then(|conditions| condition::find(conditions, "Ready"));
        ready.is_some_and(|ready| ready.status == "False" && ready.reason == "InvalidSpec")
    };
    until("the policy says that it is invalid", async || {
        invalid(&policies.get("general").await.unwrap())
    })
    .await;
    assert_eq!(recorder.seen().order, Vec::<String>::new());
}

async fn corrected_the_policy_goes_on(stack: &Stack) {
    change(stack, &json!({"windows": null}));
    stack
        .wait_reboot(name(stack, 0), "rebooted", LONG, is_done)
        .await
        .unwrap();
}

async fn a_lock_that_was_edited_is_put_right(stack: &Stack, recorder: &Recorder) {
    let (held, other) = (name(stack, 1), name(stack, 2));
    block(stack, held).await;
    stack.stage_cause(held, "held").await.unwrap();
    waits(stack, held, "EvictionBlocked").await;
    stack.stage_cause(other, "other").await.unwrap();
    waits(stack, other, "NoFreeSlot").await;
    let before = lock(stack).await;
    let unknown = json!({"node": other, "nodeUID": uid(stack, other).await, "policy": "general",
        "operationID": "unknown", "acquiredTime": "2026-01-01T00:00:00Z"});
    for holders in [json!([]), json!([unknown])] {
        let patch = json!({"status": {"holders": holders}}).to_string();
        stack
            .plane
            .kubectl(&[
                "patch",
                "rlock",
                "cluster",
                "--subresource=status",
                "--type=merge",
                "-p",
                &patch,
            ])
            .unwrap();
        until("the lock is put right", async || {
            let now = lock(stack).await;
            now.len() == 1 && now[0].0 == before[0].0 && now[0].1 == before[0].1
        })
        .await;
        assert_eq!(recorder.seen().order.last().map(String::as_str), Some(held));
    }
    unblock(stack, held);
    stack.wait_reboot(held, "rebooted", LONG, is_done).await.unwrap();
    stack.wait_reboot(other, "rebooted", LONG, is_done).await.unwrap();
}

async fn a_node_that_is_made_again_is_another_one(stack: &Stack) {
    let (gone, next) = (name(stack, 3), name(stack, 0));
    block(stack, gone).await;
    stack.stage_cause(gone, "gone").await.unwrap();
    waits(stack, gone, "EvictionBlocked").await;
    stack.stage_cause(next, "after-gone").await.unwrap();
    let before = uid(stack, gone).await;
    stack.nodes.delete(gone).await.unwrap();
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "after-gone", LONG).await.unwrap();
    assert_eq!(lock(stack).await, []);
    unblock(stack, gone);
    stack.nodes.make_again(gone).await.unwrap();
    let again = [gone.to_owned()];
    write_kubeconfigs(&stack.plane, &again).await.unwrap();
    let reboot = stack
        .wait_reboot(gone, "of the new Node", LONG, |reboot| {
            let reports = reboot.status.as_ref().is_some_and(|status| status.host.is_some());
            reports && reboot.owner_references().iter().all(|owner| owner.uid != before)
        })
        .await
        .unwrap();
    let status = reboot.status.unwrap();
    assert_eq!((status.operation, status.history), (None, vec![]));
    stack.stage_cause(gone, "again").await.unwrap();
    stack.wait_rebooted_for(&again, "again", LONG).await.unwrap();
}

async fn operators_that_cannot_work_say_why_and_stay_or_end(stack: &Stack) {
    let nowhere = stack.plane.dir().join("no-such.kubeconfig");
    let mut wrong = Operator::start(stack, "wrong-kubeconfig", &nowhere);
    let status = wrong.process.wait(LONG).await.expect("ends by itself");
    assert_eq!(status.code(), Some(1));
    let said = wrong.process.log_tail(10);
    assert!(
        said.lines().count() == 1 && said.contains("no-such.kubeconfig") && said.contains("check --kubeconfig"),
        "{said}"
    );

    let account = Account {
        namespace: "kube-system",
        name: "default",
    };
    let account = stack.plane.token_kubeconfig("no-rights", account, Bound::Nothing);
    let mut powerless = Operator::start(stack, "no-permission", &account.await.unwrap());
    powerless
        .complains(
            "not permitted",
            "check the ClusterRole lockkeeper-operator and its binding",
        )
        .await;

    let away = stack.plane.dir().join("away.kubeconfig");
    let there = std::fs::read_to_string(stack.plane.kubeconfig()).unwrap();
    let port = format!(":{}", free_port().unwrap());
    std::fs::write(&away, there.replace(&format!(":{}", stack.plane.port()), &port)).unwrap();
    let mut lonely = Operator::start(stack, "no-server", &away);
    lonely
        .complains("the watch on Nodes is failing", "Connection refused")
        .await;
}

/// The kinds are deleted under the operator that runs, too: it must not end by a panic.
async fn without_its_kinds_an_operator_waits_and_says_what_to_apply(stack: &Stack) {
    let mut args = vec!["delete", "crd", "--wait=true"];
    args.extend([
        "rebootpolicies.lockkeeper.dev",
        "nodereboots.lockkeeper.dev",
        "rebootlocks.lockkeeper.dev",
    ]);
    stack.plane.kubectl(&args).unwrap();
    let mut kindless = Operator::start(stack, "no-kinds", &stack.plane.kubeconfig());
    kindless
        .complains(
            "RebootPolicies",
            "kubectl apply --server-side -f deploy/lockkeeper.yaml",
        )
        .await;
    let running = stack.operators[0].log_tail(1000);
    assert!(!running.contains("panicked"), "{running}");
}

async fn a_report_of_another_boot_reboots_no_node(stack: &Stack, recorder: &Recorder) {
    let stranger = name(stack, 4);
    // A boot id that differs is believed for two minutes after a boot; this one was an hour ago.
    let an_hour_ago = Utc::now() - TimeDelta::hours(1);
    let ready = json!({"type": "Ready", "lastTransitionTime": an_hour_ago.to_rfc3339_opts(SecondsFormat::Secs, true)});
    let patch = json!({"status": {"conditions": [ready]}}).to_string();
    let node = ["patch", "node", stranger, "--subresource=status", "-p", &patch];
    stack.plane.kubectl(&node).unwrap();
    let words = waits(stack, stranger, "AgentMissing").await;
    assert!(
        words.starts_with("no agent has reported from this node since"),
        "{words}"
    );
    let seen = recorder.seen();
    assert!(!seen.order.contains(&stranger.to_owned()));
    assert_eq!(seen.boots[stranger].len(), 1);
}

/// An operator beside the one of the stack.
struct Operator {
    process: Process,
    address: String,
}

impl Operator {
    fn start(stack: &Stack, name: &str, kubeconfig: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let spec = Spec::new(name, program("lockkeeper-operator").unwrap(), stack.plane.log_dir())
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--http-address={address}"))
            .arg(format!("--pod-name={name}"));
        Self {
            process: Process::spawn(spec).unwrap(),
            address,
        }
    }

    /// It says these words in one line, lives, and is not ready.
    async fn complains(&mut self, what: &str, remedy: &str) {
        let process = &self.process;
        let said = |log: &str| log.lines().any(|line| line.contains(what) && line.contains(remedy));
        until(remedy, async || said(&process.log_tail(100))).await;
        let log = self.process.log_tail(100);
        assert!(self.process.exited().is_none(), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        let ready = http_get(&self.address, "/readyz").await.unwrap();
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        let alive = http_get(&self.address, "/healthz").await.unwrap();
        assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    }
}

/// From now on this node cannot be drained.
async fn block(stack: &Stack, node: &str) {
    workload::pin(&stack.plane.client(), node, 1).await.unwrap();
    workload::guard(&stack.plane.client(), node).await.unwrap();
}

fn unblock(stack: &Stack, node: &str) {
    let budget = format!("pdb/pinned-{node}");
    stack.plane.kubectl(&["delete", &budget]).unwrap();
}

fn change(stack: &Stack, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    stack
        .plane
        .kubectl(&["patch", "rbp", "general", "--type=merge", "-p", &patch])
        .unwrap();
}

async fn waits(stack: &Stack, node: &str, reason: &str) -> String {
    waits_with(stack, node, reason, "").await
}

/// Waits until a node waits for this reason with these words, and returns all of them.
async fn waits_with(stack: &Stack, node: &str, reason: &str, words: &str) -> String {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let reboot = stack
        .wait_reboot(node, reason, LONG, |reboot| {
            waiting(reboot).is_some_and(|waiting| waiting.reason == reason && waiting.message.contains(words))
        })
        .await
        .unwrap();
    waiting(&reboot).unwrap().message
}

/// Node and operation of each holder.
async fn lock(stack: &Stack) -> Vec<(String, String)> {
    let locks: Api<RebootLock> = Api::all(stack.plane.client());
    let status = locks.get(names::LOCK).await.unwrap().status.unwrap_or_default();
    let holders = status.holders.into_iter();
    holders.map(|holder| (holder.node, holder.operation_id)).collect()
}

async fn uid(stack: &Stack, node: &str) -> String {
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(stack.plane.client());
    nodes.get(node).await.unwrap().uid().unwrap()
}

async fn until(what: &str, good: impl AsyncFn() -> bool) {
    let wait = async {
        while !good().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}
