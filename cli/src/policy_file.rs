//! A `RebootPolicy` from a file.

use std::io::Read;
use std::path::Path;

use lockkeeper_crds::RebootPolicy;
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

use crate::failure::Failure;

/// The one `RebootPolicy` in the file, beside other objects if need be; `-` is standard input.
pub(crate) fn read_one(path: &Path) -> Result<RebootPolicy, Failure> {
    let name = path.display().to_string();
    let text = text(path).map_err(|error| Failure::error(format!("read {name}: {error}")))?;
    one(&name, &text)
}

fn text(path: &Path) -> std::io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
}

fn one(name: &str, text: &str) -> Result<RebootPolicy, Failure> {
    let failed = |error: serde_yaml_ng::Error| Failure::error(format!("read {name}: {error}; correct the file"));
    let mut found = Vec::new();
    for (index, document) in Deserializer::from_str(text).enumerate() {
        let value = Value::deserialize(document).map_err(failed)?;
        if value.get("kind").and_then(Value::as_str) == Some("RebootPolicy") {
            found.push(index);
        }
    }
    let [index] = found[..] else {
        return Err(Failure::error(format!(
            "read {name}: it holds {} objects of kind RebootPolicy; give one with one, or name one of the cluster \
             with --policy",
            found.len()
        )));
    };
    // From the text again: only then do errors name field and line.
    match Deserializer::from_str(text).nth(index) {
        Some(document) => RebootPolicy::deserialize(document).map_err(failed),
        None => Err(Failure::error(format!("read {name}: it changed meanwhile"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "kind: RebootPolicy\napiVersion: lockkeeper.dev/v1alpha1\nmetadata: {name: night}\n";

    #[test]
    fn one_policy_is_found_among_other_objects() {
        let text = format!("kind: Namespace\n---\n{POLICY}spec: {{drain: {{unmanagedPods: Evict}}}}\n---\n");
        let policy = one("p.yaml", &text).unwrap();
        assert_eq!(policy.metadata.name.as_deref(), Some("night"));
        assert_eq!(policy.spec.drain.unmanaged_pods, lockkeeper_crds::UnmanagedPods::Evict);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_one_line_with_the_field() {
        let failures = [
            String::new(),
            format!("{POLICY}---\n{POLICY}"),
            format!("{POLICY}spec: {{drain: {{timeoutSeconds: soon}}}}\n"),
            "kind: [".to_owned(),
        ];
        let lines = failures.map(|text| one("p.yaml", &text).unwrap_err().message);
        expect_test::expect![[r#"
            read p.yaml: it holds 0 objects of kind RebootPolicy; give one with one, or name one of the cluster with --policy
            read p.yaml: it holds 2 objects of kind RebootPolicy; give one with one, or name one of the cluster with --policy
            read p.yaml: spec.drain.timeoutSeconds: invalid type: string "soon", expected i32 at line 4 column 32; correct the file
            read p.yaml: did not find expected node content at line 2 column 1, while parsing a flow node; correct the file
        "#]].assert_eq(&(lines.join("\n") + "\n"));
    }
}
