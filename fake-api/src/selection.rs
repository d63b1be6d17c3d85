//! Which objects a list or a watch selects: a namespace, labels and fields.

use serde_json::Value;

use crate::answer::Refusal;
use crate::request::Request;
use crate::resources::Resource;
use crate::store::{Key, Store};

/// What is selected.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) resource: &'static Resource,
    namespace: String,
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selection {
    /// What a request selects.
    pub(crate) fn of(request: &Request) -> Result<Self, Refusal> {
        let fields = split(request.parameter("fieldSelector"));
        let fields: Vec<Requirement> = fields.iter().map(|part| Requirement::parse(part)).collect();
        for field in &fields {
            if !is_selectable(request.resource, &field.key) {
                return Err(Refusal::bad_request(&format!(
                    "field label not supported: {}",
                    field.key
                )));
            }
        }
        let labels = split(request.parameter("labelSelector"));
        Ok(Self {
            resource: request.resource,
            namespace: request.namespace.clone(),
            labels: labels.iter().map(|part| Requirement::parse(part)).collect(),
            fields,
        })
    }

    /// The selected objects as they are now.
    pub(crate) fn select(&self, store: &Store) -> Vec<Value> {
        let objects = store.all(self.resource.plural);
        let selected = objects.filter(|object| self.covers(&Key::of(self.resource, object)) && self.selects(object));
        selected.cloned().collect()
    }

    /// Whether an object at this place can be selected at all.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        key.plural == self.resource.plural && (self.namespace.is_empty() || key.namespace == self.namespace)
    }

    /// Whether an object is selected, if its place is.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str().map(str::to_owned);
        let field = |key: &str| Some(field(object, key));
        self.labels.iter().all(|one| one.test.holds(label(&one.key)))
            && self.fields.iter().all(|one| one.test.holds(field(&one.key)))
    }
}

/// Whether the labels of an object fit a `LabelSelector` object; one without requirements fits everything.
pub(crate) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let strings = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|value| Some(value.as_str()?.to_owned())).collect()
    };
    let mut requirements: Vec<Requirement> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        requirements.push(Requirement {
            key: key.clone(),
            test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
        });
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let values = strings(&expression["values"]);
        requirements.push(Requirement {
            key: expression["key"].as_str().unwrap_or_default().to_owned(),
            test: match expression["operator"].as_str() {
                Some("In") => Test::In(values),
                Some("NotIn") => Test::NotIn(values),
                Some("Exists") => Test::Exists,
                _ => Test::Absent,
            },
        });
    }
    let label = |key: &str| labels[key].as_str().map(str::to_owned);
    requirements.iter().all(|one| one.test.holds(label(&one.key)))
}

impl Test {
    fn holds(&self, value: Option<String>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(&value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(&value)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

impl Requirement {
    fn parse(text: &str) -> Self {
        let set = |list: &str| -> Vec<String> {
            let list = list.trim().trim_start_matches('(').trim_end_matches(')');
            list.split(',').map(|value| value.trim().to_owned()).collect()
        };
        let (key, check) = if let Some((key, values)) = text.split_once(" notin ") {
            (key, Test::NotIn(set(values)))
        } else if let Some((key, values)) = text.split_once(" in ") {
            (key, Test::In(set(values)))
        } else if let Some((key, value)) = text.split_once("!=") {
            (key, Test::NotIn(set(value)))
        } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            (key, Test::In(set(value)))
        } else if let Some(key) = text.strip_prefix('!') {
            (key, Test::Absent)
        } else {
            (text, Test::Exists)
        };
        Self {
            key: key.trim().to_owned(),
            test: check,
        }
    }
}

/// The requirements of a selector: those commas that are not within parentheses separate them.
fn split(selector: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for letter in selector.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn is_selectable(resource: &Resource, field: &str) -> bool {
    match field {
        "metadata.name" => true,
        "metadata.namespace" => resource.namespaced,
        "spec.nodeName" | "status.phase" => resource.plural == "pods",
        "spec.unschedulable" => resource.plural == "nodes",
        _ => false,
    }
}

fn field(object: &Value, path: &str) -> String {
    let value = path.split('.').fold(object, |value, part| &value[part]);
    match value {
        Value::String(text) => text.clone(),
        Value::Null if path == "spec.unschedulable" => "false".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_of_a_label_requirement_is_understood() {
        let labels = json!({"metadata": {"labels": {"component": "etcd", "tier": "a"}}});
        for (selector, expected) in [
            ("component in (etcd,kube-apiserver)", true),
            ("component in (kube-apiserver)", false),
            ("component notin (etcd),tier", false),
            ("component=etcd,tier==a", true),
            ("component!=etcd", false),
            ("zone!=b", true),
            ("!zone", true),
            ("!tier", false),
            ("zone", false),
        ] {
            let selection = Selection {
                resource: Resource::named("pods").unwrap(),
                namespace: String::new(),
                labels: split(selector).iter().map(|part| Requirement::parse(part)).collect(),
                fields: Vec::new(),
            };
            assert_eq!(selection.selects(&labels), expected, "{selector}");
        }
    }

    #[test]
    fn a_node_without_the_field_is_schedulable() {
        assert_eq!(field(&json!({"spec": {}}), "spec.unschedulable"), "false");
        assert_eq!(
            field(&json!({"spec": {"unschedulable": true}}), "spec.unschedulable"),
            "true"
        );
    }
}
