//! One run of a template for a node, and the names that are derived from it.

use std::time::Duration;

use lockkeeper_crds::names;
use lockkeeper_kube_util::{label_value, stable_hash};

/// How much of a purpose the name of a Job shows.
const SHOWN: usize = 32;

/// One run of a template for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRun {
    /// The name of the CronJob, in the operator's own namespace.
    pub template: String,
    /// The node that it runs for.
    pub node: String,
    /// The id of the node's operation.
    pub operation: String,
    /// What it runs for, such as `before-drain` and the name of a hook. An operation has one run for each purpose and attempt.
    pub purpose: String,
    /// How often the same purpose was tried before; each attempt is a Job of its own.
    pub attempt: u32,
    /// Whether it runs on the node. If not, it runs on any other node.
    pub on_node: bool,
    /// How long it may run; a shorter `activeDeadlineSeconds` of the template counts instead.
    ///
    /// The Job controller ends a Job that takes longer. While that controller does not work, no one does.
    pub timeout: Duration,
}

impl JobRun {
    /// The name of its Job: the same for the same node, operation, purpose and attempt, and for no others.
    pub fn name(&self) -> String {
        let attempt = self.attempt.to_string();
        let parts = [&self.node, &self.operation, &self.purpose, &attempt];
        let hash = stable_hash(parts.iter().flat_map(|part| part.bytes().chain([0])));
        let purpose = self.purpose.to_lowercase();
        let shown = purpose.chars().take(SHOWN);
        let shown: String = shown
            .map(|one| if one.is_ascii_alphanumeric() { one } else { '-' })
            .collect();
        match shown.trim_matches('-') {
            "" => format!("lockkeeper-{hash:016x}"),
            shown => format!("lockkeeper-{shown}-{hash:016x}"),
        }
    }

    /// The labels by which its Job is known to be its own.
    pub(crate) fn labels(&self) -> [(&'static str, String); 5] {
        [
            (names::PART_OF_LABEL, names::PART_OF.to_owned()),
            (names::COMPONENT_LABEL, names::JOB_COMPONENT.to_owned()),
            (names::JOB_NODE, label_value(&self.node)),
            (names::OPERATION, label_value(&self.operation)),
            (names::JOB_PURPOSE, label_value(&self.purpose)),
        ]
    }

    /// The annotations of its Job: what labels cannot show in full.
    pub(crate) fn annotations(&self) -> [(&'static str, &str); 4] {
        [
            (names::JOB_NODE, &self.node),
            (names::OPERATION, &self.operation),
            (names::JOB_PURPOSE, &self.purpose),
            (names::JOB_TEMPLATE, &self.template),
        ]
    }

    /// The environment variables of each of its containers.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 3] {
        [
            ("LOCKKEEPER_NODE", &self.node),
            ("LOCKKEEPER_OPERATION", &self.operation),
            ("LOCKKEEPER_PURPOSE", &self.purpose),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(operation: &str, purpose: &str, attempt: u32) -> JobRun {
        JobRun {
            template: "t".to_owned(),
            node: "w-01".to_owned(),
            operation: operation.to_owned(),
            purpose: purpose.to_owned(),
            attempt,
            on_node: true,
            timeout: Duration::from_mins(1),
        }
    }

    #[test]
    fn each_version_gives_the_job_of_a_run_the_same_name() {
        assert_eq!(
            run("7f3c", "before-drain", 0).name(),
            "lockkeeper-before-drain-337d2d8a2f636ca1"
        );
    }

    #[test]
    fn each_purpose_operation_and_attempt_has_a_job_of_its_own() {
        let names = [
            run("7f3c", "a", 0).name(),
            run("7f3c", "b", 0).name(),
            run("7f3c", "a", 1).name(),
            run("7f3", "ca", 0).name(),
        ];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_name_is_valid_whatever_the_purpose_is() {
        let begins = |purpose: &str, expected: &str| {
            let name = run("7f3c", purpose, 0).name();
            assert!(name.starts_with(expected) && name.len() <= 63, "{name}");
        };
        begins("Check Disk/äöü", "lockkeeper-check-disk-");
        begins("---", "lockkeeper-");
        begins(&"x".repeat(300), &format!("lockkeeper-{}-", "x".repeat(32)));
    }
}
