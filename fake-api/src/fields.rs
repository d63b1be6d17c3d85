//! Which field manager owns which fields: `metadata.managedFields`.
//!
//! A list is owned as a whole; the real server also knows lists whose items are owned one by one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// A field: the keys that lead to it.
pub(crate) type Path = Vec<String>;

/// The fields that no manager owns: the server sets them, or they name the object.
const UNOWNED: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
];

/// Who owns fields: the name, whether by an apply, and through which subresource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) manager: String,
    pub(crate) by_apply: bool,
    pub(crate) subresource: String,
}

/// The owners of an object's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners(pub(crate) BTreeMap<Owner, BTreeSet<Path>>);

impl Owners {
    /// Reads them from an object.
    pub(crate) fn of(object: &Value) -> Self {
        let mut owners = BTreeMap::new();
        for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let owner = Owner {
                manager: text("manager"),
                by_apply: entry["operation"] == "Apply",
                subresource: text("subresource"),
            };
            let mut paths = BTreeSet::new();
            read_tree(&entry["fieldsV1"], &mut Vec::new(), &mut paths);
            owners.insert(owner, paths);
        }
        Self(owners)
    }

    /// Writes them into an object.
    pub(crate) fn write(mut self, object: &mut Value) {
        self.0.retain(|_, paths| !paths.is_empty());
        let api_version = object["apiVersion"].clone();
        let entries = self.0.iter().map(|(owner, paths)| {
            let operation = if owner.by_apply { "Apply" } else { "Update" };
            let mut entry = json!({
                "manager": owner.manager, "operation": operation, "apiVersion": api_version,
                "fieldsType": "FieldsV1", "fieldsV1": tree(paths),
            });
            if !owner.subresource.is_empty() {
                entry["subresource"] = json!(owner.subresource);
            }
            entry
        });
        let entries: Vec<Value> = entries.collect();
        object["metadata"]["managedFields"] = json!(entries);
    }

    /// Takes in an update: who changes a field owns it, and a field that is gone has no owner.
    pub(crate) fn update(&mut self, owner: Owner, before: &Value, after: &Value) {
        let (old, new) = (leaves(before), leaves(after));
        let changed: BTreeSet<Path> = new
            .iter()
            .filter(|path| value_at(before, path) != value_at(after, path))
            .cloned()
            .collect();
        let gone = |path: &Path| old.contains(path) && !new.contains(path);
        for paths in self.0.values_mut() {
            paths.retain(|path| !changed.contains(path) && !gone(path));
        }
        self.0.entry(owner).or_default().extend(changed);
    }
}

/// The fields of an object that a manager can own: values and lists, but no maps.
pub(crate) fn leaves(object: &Value) -> BTreeSet<Path> {
    let mut paths = BTreeSet::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let owned = value.as_object().into_iter().flatten();
                for (field, value) in owned.filter(|(field, _)| !UNOWNED.contains(&field.as_str())) {
                    collect(value, &mut vec![key.clone(), field.clone()], &mut paths);
                }
            }
            _ => collect(value, &mut vec![key.clone()], &mut paths),
        }
    }
    paths
}

/// The value of a field; nothing if it is absent.
pub(crate) fn value_at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.as_object()?.get(key))
}

/// Removes a field, and the maps of labels and annotations that become empty.
pub(crate) fn remove_at(object: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let parent = parents.iter().try_fold(&mut *object, |value, key| value.get_mut(key));
    if let Some(map) = parent.and_then(Value::as_object_mut) {
        map.remove(last);
        let is_removable = parents
            .last()
            .is_some_and(|name| name == "labels" || name == "annotations");
        if map.is_empty() && is_removable {
            remove_at(object, parents);
        }
    }
}

/// A field as messages name it: `.spec.unschedulable`.
pub(crate) fn display(path: &[String]) -> String {
    format!(".{}", path.join("."))
}

fn collect(value: &Value, path: &mut Path, into: &mut BTreeSet<Path>) {
    let Value::Object(map) = value else {
        into.insert(path.clone());
        return;
    };
    for (key, value) in map {
        path.push(key.clone());
        collect(value, path, into);
        path.pop();
    }
}

fn tree(paths: &BTreeSet<Path>) -> Value {
    let mut root = Value::Object(Map::new());
    for path in paths {
        let mut place = &mut root;
        for part in path {
            place = &mut place[format!("f:{part}")];
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
        }
    }
    root
}

fn read_tree(tree: &Value, path: &mut Path, into: &mut BTreeSet<Path>) {
    let children = tree.as_object().into_iter().flatten();
    let children: Vec<_> = children
        .filter_map(|(key, value)| Some((key.strip_prefix("f:")?, value)))
        .collect();
    if children.is_empty() && !path.is_empty() {
        into.insert(path.clone());
    }
    for (key, value) in children {
        path.push(key.to_owned());
        read_tree(value, path, into);
        path.pop();
    }
}
