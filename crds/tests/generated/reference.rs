//! `docs/reference/api.md`: every field of the definitions, one line each.

use std::fmt::Write as _;

use expect_test::expect_file;
use lockkeeper_crds::generate::definitions;
use serde_json::Value;

const HEADER: &str = "\
# API reference: lockkeeper.dev/v1alpha1

Generated from the definitions by `make generate`; a test fails on drift. What the fields do together is in
[policy.md](../policy.md) and [concepts.md](../concepts.md). All kinds are without a namespace; `kubectl get lockkeeper` lists
all objects of all of them.
";

#[test]
fn the_reference_lists_every_field() {
    let mut text = HEADER.to_owned();
    // What people write comes first.
    let mut all: Vec<Value> = definitions()
        .iter()
        .map(|one| serde_json::to_value(one).unwrap())
        .collect();
    all.sort_by_key(|one| one["spec"]["names"]["kind"] != "RebootPolicy");
    for definition in &all {
        kind(&mut text, definition);
    }
    expect_file![format!("{}/../docs/reference/api.md", env!("CARGO_MANIFEST_DIR"))].assert_eq(&text);
}

fn kind(text: &mut String, definition: &Value) {
    let (names, version) = (&definition["spec"]["names"], &definition["spec"]["versions"][0]);
    let schema = &version["schema"]["openAPIV3Schema"];
    let (name, short) = (word(&names["kind"]), word(&names["shortNames"][0]));
    let _ = write!(text, "\n## {name}\n\n{} Short: `{short}`.\n", sentence(schema));
    let _ = write!(text, "\n`kubectl get {short}` shows ");
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    let columns: Vec<String> = columns
        .map(|column| {
            let wide = column["priority"].as_i64().unwrap_or(0) > 0;
            format!("`{}`{}", word(&column["name"]), if wide { " (`-o wide`)" } else { "" })
        })
        .collect();
    let _ = writeln!(text, "{}.", columns.join(", "));
    for part in ["spec", "status"] {
        let _ = write!(
            text,
            "\n### {name}.{part}\n\n| field | type | default | is |\n|---|---|---|---|\n"
        );
        fields(text, "", &schema["properties"][part]);
        let mut rules = Vec::new();
        validations(&mut rules, part, &schema["properties"][part]);
        if !rules.is_empty() {
            let _ = write!(text, "\nRefused by the API server:\n\n{}", rules.concat());
        }
    }
}

/// One line for each field below `path`, in the order of the names.
fn fields(text: &mut String, path: &str, schema: &Value) {
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            // The fields below an object have theirs.
            Value::Null | Value::Object(_) => String::new(),
            value => format!("`{value}`").replace('"', ""),
        };
        let (kind, about) = (kind_of(field), sentence(field));
        let _ = writeln!(text, "| `{path}` | {kind} | {default} | {about} |");
        below(text, &path, field);
    }
}

fn below(text: &mut String, path: &str, field: &Value) {
    fields(text, &format!("{path}."), field);
    if field["items"]["type"] == "object" {
        fields(text, &format!("{path}[]."), &field["items"]);
    }
}

/// What a value may be, with its limits.
fn kind_of(field: &Value) -> String {
    let number = |key: &str| field[key].as_f64().map(|limit| format!("{limit}"));
    if let Some(words) = field["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str);
        return words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "number, or percentage as `10%`".to_owned();
    }
    match (word(&field["type"]), word(&field["format"])) {
        ("string", "date-time") => "time, RFC 3339".to_owned(),
        ("string", _) => match field["maxLength"].as_u64() {
            Some(most) => format!("text, at most {most} characters"),
            None => "text".to_owned(),
        },
        ("integer", _) => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("number, {least} to {most}"),
            (Some(least), None) => format!("number, at least {least}"),
            _ => "number".to_owned(),
        },
        ("boolean", _) => "`true` or `false`".to_owned(),
        ("array", _) => {
            let each = if field["items"]["type"] == "object" {
                "object".to_owned()
            } else {
                kind_of(&field["items"])
            };
            format!("list, at most {}, of {each}", field["maxItems"])
        }
        ("object", _) if field["additionalProperties"].is_object() => "map of texts".to_owned(),
        (other, _) => other.to_owned(),
    }
}

/// The messages of the rules that a schema alone cannot say.
fn validations(rules: &mut Vec<String>, path: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        rules.push(format!("- `{path}`: {}\n", word(&rule["message"])));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        validations(rules, &format!("{path}.{name}"), field);
    }
    if schema["items"].is_object() {
        validations(rules, &format!("{path}[]"), &schema["items"]);
    }
}

/// A description in one line, as a cell of a table takes it.
fn sentence(field: &Value) -> String {
    word(&field["description"])
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
