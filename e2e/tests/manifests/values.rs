//! Every value of the chart is documented, part of the schema, and listed in the README.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::expect_file;
use lockkeeper_e2e::helm::documents;
use serde_json::Value;

use super::{file, read};

const BEGIN: &str = "<!-- values: generated from values.yaml by `make generate` -->\n";
const END: &str = "<!-- end of values -->\n";

#[test]
fn the_readme_lists_every_value() {
    let old = read("charts/lockkeeper/README.md");
    let (head, rest) = old
        .split_once(BEGIN)
        .expect("the README marks the beginning of the values");
    let (_, tail) = rest.split_once(END).expect("the README marks the end of the values");
    let new = format!("{head}{BEGIN}{}{END}{tail}", table());
    expect_file![file("charts/lockkeeper/README.md")].assert_eq(&new);
}

#[test]
fn every_value_has_a_comment() {
    let comments = comments();
    let mut bare = Vec::new();
    walk("", &defaults(), &mut |path, value| {
        let covered = comments.contains_key(path) || covered_by_parent(path, &comments);
        if !path.is_empty() && !covered {
            bare.push(format!("{path}: {value}"));
        }
    });
    assert_eq!(bare, Vec::<String>::new());
}

#[test]
fn the_schema_has_every_value_and_no_other() {
    let schema: Value = serde_json::from_str(&read("charts/lockkeeper/values.schema.json")).unwrap();
    let comments = comments();
    for path in comments.keys() {
        let mut at = &schema;
        for key in path.split('.') {
            at = resolve(&schema, &at["properties"][key]);
            assert!(at.is_object(), "the schema lacks {path}");
        }
    }
    let mut unknown = Vec::new();
    let mut open = Vec::new();
    properties("", &schema, &schema, &mut |path, object| {
        if !path.is_empty()
            && !path.contains("[]")
            && !comments.contains_key(path)
            && !covered_by_parent(path, &comments)
        {
            unknown.push(path.to_owned());
        }
        // Maps and Kubernetes objects list no properties; `global` is shared between charts.
        if object.get("properties").is_some() && object["additionalProperties"] != false && path != "global" {
            open.push(path.to_owned());
        }
    });
    assert_eq!(unknown, Vec::<String>::new(), "in the schema but not in values.yaml");
    assert_eq!(open, Vec::<String>::new(), "these accept unknown keys");
}

/// Whether a parent is documented as a whole, as for `resources.limits`.
fn covered_by_parent(path: &str, comments: &BTreeMap<String, String>) -> bool {
    let mut parent = path;
    while let Some((above, _)) = parent.rsplit_once('.') {
        if comments.contains_key(above) {
            return !has_children(above, comments);
        }
        parent = above;
    }
    false
}

fn has_children(path: &str, comments: &BTreeMap<String, String>) -> bool {
    comments.keys().any(|other| other.starts_with(&format!("{path}.")))
}

/// The comments that begin with `# -- `, by the path of the key below them.
fn comments() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut comment = None;
    for line in read("charts/lockkeeper/values.yaml").lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix("# -- ") {
            comment = Some(words.to_owned());
        } else if let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with(['#', '-', '{'])) {
            path.retain(|(above, _)| *above < indent);
            path.push((indent, key.to_owned()));
            if let Some(comment) = comment.take() {
                let keys: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
                found.insert(keys.join("."), comment);
            }
        }
    }
    found
}

fn defaults() -> Value {
    documents(&read("charts/lockkeeper/values.yaml")).unwrap().remove(0)
}

/// One line for each value, in the order of the names.
fn table() -> String {
    let (comments, defaults) = (comments(), defaults());
    let mut text = "| value | default | description |\n|---|---|---|\n".to_owned();
    for (path, comment) in &comments {
        let default = path.split('.').fold(&defaults, |at, key| &at[key]);
        let default = if has_children(path, &comments) {
            String::new()
        } else {
            format!("`{default}`").replace('|', "\\|")
        };
        let comment = comment.replace('|', "\\|");
        let _ = writeln!(text, "| `{path}` | {default} | {comment} |");
    }
    text
}

fn walk(path: &str, value: &Value, see: &mut impl FnMut(&str, &Value)) {
    see(path, value);
    for (key, value) in value.as_object().into_iter().flatten() {
        walk(&below(path, key), value, see);
    }
}

/// Calls `see` for each schema of a value, following references.
fn properties(path: &str, schema: &Value, root: &Value, see: &mut impl FnMut(&str, &Value)) {
    let schema = resolve(root, schema);
    see(path, schema);
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        properties(&below(path, key), value, root, see);
    }
    if schema["additionalProperties"].is_object() {
        properties(&format!("{path}[]"), &schema["additionalProperties"], root, see);
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
