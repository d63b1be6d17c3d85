//! Refusals about the object that a request names, in the words of the real server.

use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::request::Request;

impl Refusal {
    pub(crate) fn not_found(request: &Request) -> Self {
        Self::about(request, 404, "NotFound", "not found")
    }

    pub(crate) fn exists(request: &Request, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", request.resource.qualified());
        Self {
            details: details(request),
            ..Self::new(409, "AlreadyExists", message)
        }
    }

    pub(crate) fn conflict(request: &Request, cause: &str) -> Self {
        let (qualified, name) = (request.resource.qualified(), &request.name);
        let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {cause}");
        Self {
            details: details(request),
            ..Self::new(409, "Conflict", message)
        }
    }

    pub(crate) fn invalid(request: &Request, field: &str, cause: &str) -> Self {
        let (kind, group, name) = (request.resource.kind, request.resource.group(), &request.name);
        let kind = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let message = format!("{kind} {name:?} is invalid: {field}: Invalid value: {cause}");
        let mut details = details(request);
        details["kind"] = json!(request.resource.kind);
        details["causes"] = json!([{"reason": "FieldValueInvalid", "field": field, "message": cause}]);
        Self {
            details,
            ..Self::new(422, "Invalid", message)
        }
    }

    fn about(request: &Request, code: u16, reason: &'static str, what: &str) -> Self {
        let message = format!("{} {:?} {what}", request.resource.qualified(), request.name);
        Self {
            details: details(request),
            ..Self::new(code, reason, message)
        }
    }
}

fn details(request: &Request) -> Value {
    let mut details = json!({"name": request.name, "kind": request.resource.plural});
    if !request.resource.group().is_empty() {
        details["group"] = json!(request.resource.group());
    }
    details
}
