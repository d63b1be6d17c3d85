//! Whatever a policy file contains.

use lockkeeper_fuzz::fuzz;
use lockkeeper_kube_util::is_printable;
use serde_json::json;

use super::file;
use crate::failure::Failure;

#[test]
fn a_policy_file_is_read_whole_or_refused_in_one_printable_line() {
    fuzz("policy-file", |input| {
        match file::parse(&String::from_utf8_lossy(input)) {
            Err(error) => {
                let message = Failure::error(format!("p.yaml: {error}")).message;
                assert!(message.chars().all(is_printable), "{message:?}");
            }
            Ok(specs) => {
                for (name, spec) in &specs {
                    let policy = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
                    "metadata": {"name": name}, "spec": spec});
                    let again = file::parse(&policy.to_string()).unwrap();
                    assert_eq!(again, [(name.clone(), spec.clone())]);
                }
            }
        }
    });
}
