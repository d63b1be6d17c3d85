//! Writes that the API server refuses again and again: each delays what it is about, and names what refuses it.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lockkeeper_crds::names;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use super::{LONG, eventually, name, waits};

/// A `GitOps` tool owns `spec.unschedulable` of one Node by server-side apply.
pub(super) async fn a_cordon_that_another_manager_refuses_delays_its_own_node_only(stack: &Stack) {
    let (owned, next) = (name(stack, 0), name(stack, 5));
    let nodes: Api<Node> = Api::all(stack.plane.client());
    let apply = async |spec: Value| {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": owned}, "spec": spec});
        let params = PatchParams::apply("argocd").force();
        nodes.patch(owned, &params, &Patch::Apply(&node)).await.unwrap();
    };
    apply(json!({"unschedulable": false})).await;
    stack.stage_cause(owned, "owned").await.unwrap();
    let words = waits(stack, owned, "BackingOff").await;
    assert!(
        words.contains("WriteRefused: cannot cordon hollow-0000: field .spec.unschedulable is owned by argocd"),
        "{words}"
    );
    stack.stage_cause(next, "after-owned").await.unwrap();
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "after-owned", LONG).await.unwrap();
    apply(json!({})).await;
}

/// An admission policy without a reason of its own answers 422, as a schema and a CEL rule do.
pub(super) async fn a_cordon_that_a_rule_calls_invalid_defers_its_own_node_with_the_servers_text(stack: &Stack) {
    let (ruled, next) = (name(stack, 3), name(stack, 6));
    let cordoned = format!("object.metadata.name == '{ruled}' && {BY_THE_OPERATOR} && has(object.spec.unschedulable)");
    let denial = Denial::new(stack, "", "nodes", &cordoned);
    let tries = format!("--as=system:serviceaccount:{}:lockkeeper-operator", names::NAMESPACE);
    let patch = r#"{"spec": {"unschedulable": true}}"#;
    denial
        .wait(&["patch", "node", ruled, "-p", patch, "--dry-run=server", &tries])
        .await;
    stack.stage_cause(ruled, "ruled").await.unwrap();
    let words = waits(stack, ruled, "BackingOff").await;
    assert!(
        words.contains("WriteRefused: the API server refuses to cordon hollow-0003: ") && words.contains(DENIED),
        "{words}"
    );
    stack.stage_cause(next, "after-ruled").await.unwrap();
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "after-ruled", LONG).await.unwrap();
    denial.end();
}

/// Nothing can be written about one NodeReboot.
pub(super) async fn a_record_that_may_not_be_written_delays_its_own_node_only(stack: &Stack) {
    let (denied, next) = (name(stack, 9), name(stack, 5));
    let condition = format!("object.metadata.name == '{denied}' && !request.userInfo.username.contains('agent')");
    let denial = Denial::new(stack, names::GROUP, "nodereboots, nodereboots/status", &condition);
    denial
        .wait(&["annotate", "nrb", denied, "e2e.lockkeeper.dev/try=x", "--overwrite"])
        .await;
    stack.stage_cause(denied, "denied").await.unwrap();
    stack.stage_cause(next, "beside-denied").await.unwrap();
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "beside-denied", LONG).await.unwrap();
    denial.end();
    let denied = [denied.to_owned()];
    stack.wait_rebooted_for(&denied, "denied", LONG).await.unwrap();
}

pub(super) async fn a_lock_that_may_not_be_written_is_what_each_waiting_node_names(stack: &Stack) {
    let nodes = [name(stack, 7), name(stack, 8)];
    let denial = Denial::new(stack, names::GROUP, "rebootlocks, rebootlocks/status", "true");
    denial
        .wait(&[
            "annotate",
            "rlock",
            names::LOCK,
            "e2e.lockkeeper.dev/try=x",
            "--overwrite",
        ])
        .await;
    for node in nodes {
        stack.stage_cause(node, "locked").await.unwrap();
    }
    for node in nodes {
        let words = waits(stack, node, "WriteRefused").await;
        assert!(
            words.contains("the API server refuses to write the holders of RebootLock cluster: ")
                && words.contains(DENIED),
            "{words}"
        );
    }
    denial.end();
    let nodes = nodes.map(str::to_owned);
    stack.wait_rebooted_for(&nodes, "locked", LONG).await.unwrap();
}

const DENIED: &str = "not this one";
const BY_THE_OPERATOR: &str = "request.userInfo.username.endsWith(':lockkeeper-operator')";

/// An admission policy that denies updates.
struct Denial<'a> {
    stack: &'a Stack,
    file: String,
}

impl<'a> Denial<'a> {
    /// Denies updates of these resources of a group that fulfil a condition.
    fn new(stack: &'a Stack, group: &str, resources: &str, condition: &str) -> Self {
        let policy = format!(
            r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: deny}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {{apiGroups: ["{group}"], apiVersions: ["*"], operations: [UPDATE], resources: [{resources}]}}
  matchConditions:
    - {{name: condition, expression: "{condition}"}}
  validations:
    - {{expression: "false", message: "{DENIED}"}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: deny}}
spec: {{policyName: deny, validationActions: [Deny]}}
"#
        );
        let file = stack.plane.dir().join("deny.yaml");
        std::fs::write(&file, policy).unwrap();
        let file = file.to_string_lossy().into_owned();
        stack.plane.kubectl(&["apply", "-f", &file]).unwrap();
        Self { stack, file }
    }

    /// Waits until this command is denied.
    async fn wait(&self, command: &[&str]) {
        let said = || self.stack.plane.kubectl(command).err().map(|error| error.to_string());
        eventually(
            "the admission policy is in force",
            || said().unwrap_or_default(),
            |said| said.contains(DENIED),
        )
        .await;
    }

    fn end(self) {
        self.stack.plane.kubectl(&["delete", "-f", &self.file]).unwrap();
    }
}
