//! The eviction of a pod: within its disruption budget, in the order of the real server's steps.

use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::request::Request;
use crate::resources::Resource;
use crate::selection::label_selector_matches;
use crate::state::State;
use crate::write::delete_now;

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Evicts a pod. A wrong uid is noticed only after the budget was charged, as on the real server.
pub(crate) fn evict(state: &mut State, request: &Request) -> Result<Value, Refusal> {
    let pod = state.existing(request)?.clone();
    let is_dry = request.is_dry_run();
    if !is_exempt(&pod) {
        charge(state, request, &pod, is_dry)?;
    }
    let asked = request.body["deleteOptions"]["preconditions"]["uid"].as_str();
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    if let Some(asked) = asked.filter(|asked| *asked != uid) {
        let cause = format!(
            "the UID in the precondition ({asked}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err(Refusal::conflict(request, &cause));
    }
    if !is_dry {
        delete_now(state, request, pod);
    }
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
}

/// A pod that runs no more, or not yet, is no disruption.
fn is_exempt(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || !pod["metadata"]["deletionTimestamp"].is_null()
}

/// Takes one disruption from the budget of the pod.
fn charge(state: &mut State, request: &Request, pod: &Value, is_dry: bool) -> Result<(), Refusal> {
    let guards = |budget: &&Value| {
        budget["metadata"]["namespace"] == pod["metadata"]["namespace"]
            && label_selector_matches(&budget["spec"]["selector"], &pod["metadata"]["labels"])
    };
    let budgets: Vec<Value> = state
        .store
        .all("poddisruptionbudgets")
        .filter(guards)
        .cloned()
        .collect();
    let [budget] = budgets.as_slice() else {
        let message =
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return match budgets.len() {
            0 => Ok(()),
            _ => Err(Refusal::new(500, "", message)),
        };
    };
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let (healthy, desired, allowed) = (
        number("currentHealthy"),
        number("desiredHealthy"),
        number("disruptionsAllowed"),
    );
    if !is_ready(pod) {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if always || (healthy >= desired && desired > 0) {
            return Ok(());
        }
    }
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or_default() {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(exhausted(&cause, Some(10)));
    }
    if allowed <= 0 {
        let cause = if healthy <= desired {
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
        } else {
            format!("The disruption budget {name} does not allow evicting pods currently")
        };
        return Err(exhausted(&cause, None));
    }
    if !is_dry {
        let mut charged = budget.clone();
        charged["status"]["disruptionsAllowed"] = json!(allowed - 1);
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
        charged["status"]["disruptedPods"][pod] = json!(state.in_seconds(0));
        let of_budget = Request {
            resource: Resource::of(budget).unwrap_or(request.resource),
            subresource: "status".to_owned(),
            ..request.clone()
        };
        state.store(&of_budget, charged, false);
    }
    Ok(())
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn exhausted(cause: &str, retry_after: Option<u64>) -> Refusal {
    Refusal {
        details: json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]}),
        retry_after,
        ..Refusal::new(429, "TooManyRequests", REFUSED)
    }
}
