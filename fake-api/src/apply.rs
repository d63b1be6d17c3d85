//! Server-side apply: fields with owners, conflicts between them, and the removal of what is no longer applied.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::fields::{Owner, Owners, Path, display, leaves, remove_at, value_at};
use crate::merge::merged;
use crate::request::Request;
use crate::state::State;
use crate::store::Key;
use crate::write::{check_uid, check_version, isolate};

/// Applies the fields of the body, and removes those that only this manager had applied before.
pub(crate) fn apply(state: &mut State, request: &Request) -> Result<(u16, Value), Refusal> {
    let key = Key::namespaced(request.resource.plural, &request.namespace, &request.name);
    let Some(before) = state.store.get(&key).cloned() else {
        return create(state, request);
    };
    check_version(request, &before)?;
    check_uid(request, &before)?;
    let owner = Owner {
        manager: request.manager().to_owned(),
        by_apply: true,
        subresource: request.subresource.clone(),
    };
    let mut owners = Owners::of(&before);
    let config = applied(request);
    let fields = leaves(&config);
    let conflicts = conflicts(&owners, &owner, &fields, &before, &config);
    if !conflicts.is_empty() {
        if request.parameter("force") != "true" {
            return Err(refusal(request, &conflicts));
        }
        for (path, owner) in &conflicts {
            if let Some(paths) = owners.0.get_mut(owner) {
                paths.remove(path);
            }
        }
    }
    let mut after = merged(before.clone(), &config);
    let dropped = owners.0.insert(owner, fields.clone()).unwrap_or_default();
    for path in dropped.difference(&fields) {
        if !owners.0.values().any(|paths| paths.contains(path)) {
            remove_at(&mut after, path);
        }
    }
    let mut after = isolate(request, &before, after);
    owners.write(&mut after);
    Ok((200, state.store(request, after, true)))
}

/// What is applied: the part of the object that this path may change, without what guards the write.
fn applied(request: &Request) -> Value {
    let mut config = request.body.clone();
    if let Some(metadata) = config["metadata"].as_object_mut() {
        metadata.remove("uid");
        metadata.remove("resourceVersion");
    }
    let (keeps_status, is_isolated) = (request.subresource == "status", request.resource.status);
    if let Some(fields) = config.as_object_mut() {
        fields.retain(|field, _| match field.as_str() {
            "apiVersion" | "kind" | "metadata" => true,
            "status" => keeps_status || !is_isolated,
            _ => !keeps_status,
        });
    }
    config
}

/// Without an object an apply makes one, unless it names the uid of one that is gone.
fn create(state: &mut State, request: &Request) -> Result<(u16, Value), Refusal> {
    if !request.subresource.is_empty() {
        return Err(Refusal::not_found(request));
    }
    if let Some(uid) = request.body["metadata"]["uid"].as_str() {
        let cause = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(Refusal::conflict(request, &cause));
    }
    let mut object = applied(request);
    object["metadata"]["name"] = json!(request.name);
    let owner = Owner {
        manager: request.manager().to_owned(),
        by_apply: true,
        subresource: String::new(),
    };
    let fields = leaves(&object);
    Owners([(owner, fields)].into()).write(&mut object);
    Ok((201, state.store(request, object, true)))
}

/// The fields that another manager owns and that would get another value.
fn conflicts(
    owners: &Owners,
    own: &Owner,
    fields: &BTreeSet<Path>,
    before: &Value,
    config: &Value,
) -> Vec<(Path, Owner)> {
    let others = owners.0.iter().filter(|(owner, _)| *owner != own);
    let mut found = Vec::new();
    for (owner, paths) in others {
        let differs = |path: &&Path| value_at(before, path) != value_at(config, path);
        let shared = fields.intersection(paths).filter(differs);
        found.extend(shared.map(|path| (path.clone(), owner.clone())));
    }
    found
}

fn refusal(request: &Request, conflicts: &[(Path, Owner)]) -> Refusal {
    let text = |owner: &Owner| {
        let update = if owner.by_apply {
            String::new()
        } else {
            format!(" using {}", request.resource.api_version)
        };
        format!("conflict with {:?}{update}", owner.manager)
    };
    let causes = conflicts
        .iter()
        .map(|(path, owner)| json!({"reason": "FieldManagerConflict", "message": text(owner), "field": display(path)}));
    let causes: Vec<Value> = causes.collect();
    let (count, plural) = (causes.len(), if causes.len() == 1 { "" } else { "s" });
    let first = conflicts
        .first()
        .map(|(path, owner)| format!("{}: {}", text(owner), display(path)));
    let message = format!(
        "Apply failed with {count} conflict{plural}: {}",
        first.unwrap_or_default()
    );
    Refusal {
        details: json!({"causes": causes}),
        ..Refusal::new(409, "Conflict", message)
    }
}
