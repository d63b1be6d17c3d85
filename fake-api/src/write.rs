//! Create, replace, merge patch and delete, with their preconditions.

use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::merge::merged;
use crate::request::Request;
use crate::state::{State, finalizers};
use crate::store::Key;

const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// Makes a new object.
pub(crate) fn create(state: &mut State, request: &Request) -> Result<Value, Refusal> {
    let mut object = request.body.clone();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(Refusal::invalid(
            request,
            "metadata.name",
            "Required value: name is required",
        ));
    }
    object["apiVersion"] = json!(request.resource.api_version);
    object["kind"] = json!(request.resource.kind);
    if request.resource.namespaced {
        object["metadata"]["namespace"] = json!(request.namespace);
        let namespace = Key::cluster("namespaces", &request.namespace);
        if state.store.get(&namespace).is_none() {
            return Err(missing_namespace(&request.namespace));
        }
    }
    if request.resource.status {
        remove(&mut object, "status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("uid");
    }
    if state.store.get(&Key::of(request.resource, &object)).is_some() {
        return Err(Refusal::exists(request, &name));
    }
    Ok(state.store(request, object, false))
}

/// Puts another object in the place of one.
pub(crate) fn replace(state: &mut State, request: &Request) -> Result<Value, Refusal> {
    let before = state.existing(request)?.clone();
    let metadata = &request.body["metadata"];
    if request.resource.guarded && metadata["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        let cause = "0: must be specified for an update";
        let mut refusal = Refusal::invalid(request, "metadata.resourceVersion", cause);
        // Here, and only here, the real server names the kind as paths do.
        refusal.details["kind"] = json!(request.resource.plural);
        return Err(refusal);
    }
    if let (Some(asked), Some(uid)) = (metadata["uid"].as_str(), before["metadata"]["uid"].as_str())
        && !asked.is_empty()
        && asked != uid
    {
        let cause = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {uid}");
        return Err(Refusal::conflict(request, &cause));
    }
    check_version(request, &before)?;
    let after = isolate(request, &before, request.body.clone());
    Ok(state.store(request, after, false))
}

/// Changes an object by a merge patch.
pub(crate) fn merge(state: &mut State, request: &Request) -> Result<Value, Refusal> {
    let before = state.existing(request)?.clone();
    check_version(request, &before)?;
    check_uid(request, &before)?;
    let after = isolate(request, &before, merged(before.clone(), &request.body));
    Ok(state.store(request, after, false))
}

/// Deletes an object: at once, after its grace period, or once its finalizers are gone.
pub(crate) fn delete(state: &mut State, request: &Request) -> Result<Value, Refusal> {
    let before = state.existing(request)?.clone();
    let asked = &request.body["preconditions"];
    for (field, name) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let (asked, found) = (&asked[field], &before["metadata"][field]);
        if let (Some(asked), Some(found)) = (asked.as_str(), found.as_str())
            && asked != found
        {
            let cause = format!("Precondition failed: {name} in precondition: {asked}, {name} in object meta: {found}");
            return Err(Refusal::conflict(request, &cause));
        }
    }
    if request.is_dry_run() {
        return Ok(before);
    }
    delete_now(state, request, before);
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
}

/// Deletes an object whose preconditions hold.
pub(crate) fn delete_now(state: &mut State, request: &Request, mut object: Value) {
    let options = match &request.body["deleteOptions"] {
        Value::Null => &request.body,
        options => options,
    };
    let is_running = request.resource.plural == "pods" && !object["spec"]["nodeName"].is_null();
    let grace = options["gracePeriodSeconds"]
        .as_i64()
        .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(30);
    let grace = if is_running { grace } else { 0 };
    if grace == 0 && finalizers(&object) == 0 {
        state.remove(request, &Key::of(request.resource, &object));
    } else if object["metadata"]["deletionTimestamp"].is_null() {
        object["metadata"]["deletionTimestamp"] = json!(state.in_seconds(grace));
        if is_running {
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        }
        state.store(request, object, false);
    }
}

/// The version that a write names must be the present one.
pub(crate) fn check_version(request: &Request, before: &Value) -> Result<(), Refusal> {
    match request.body["metadata"]["resourceVersion"].as_str() {
        None | Some("") => Ok(()),
        Some(version) if before["metadata"]["resourceVersion"] == version => Ok(()),
        Some(_) => Err(Refusal::conflict(request, MODIFIED)),
    }
}

/// The uid that a patch names must be the object's.
pub(crate) fn check_uid(request: &Request, before: &Value) -> Result<(), Refusal> {
    match request.body["metadata"]["uid"].as_str() {
        Some(uid) if before["metadata"]["uid"] != uid => {
            let cause = format!("{uid:?}: field is immutable");
            Err(Refusal::invalid(request, "metadata.uid", &cause))
        }
        Some(_) | None => Ok(()),
    }
}

/// Keeps what a write through this path may not change: the status, or everything else; and what the server sets.
pub(crate) fn isolate(request: &Request, before: &Value, mut after: Value) -> Value {
    if request.subresource == "status" {
        let mut object = before.clone();
        set(&mut object, "status", after.get("status"));
        return object;
    }
    if request.resource.status {
        set(&mut after, "status", before.get("status"));
    }
    for field in ["name", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        set(&mut after["metadata"], field, before["metadata"].get(field));
    }
    set(&mut after, "apiVersion", before.get("apiVersion"));
    set(&mut after, "kind", before.get("kind"));
    after
}

/// Gives a field this value, or removes it.
fn set(object: &mut Value, field: &str, value: Option<&Value>) {
    match value {
        Some(value) => object[field] = value.clone(),
        None => remove(object, field),
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(field);
    }
}

fn missing_namespace(namespace: &str) -> Refusal {
    Refusal {
        details: json!({"name": namespace, "kind": "namespaces"}),
        ..Refusal::new(404, "NotFound", format!("namespaces {namespace:?} not found"))
    }
}
