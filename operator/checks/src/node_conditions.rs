//! A check of the node's own conditions, such as those of the node problem detector.

use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::Api;
use lockkeeper_crds::{ConditionStatus, NodeConditionCheck};
use lockkeeper_planner::Finding;

use crate::error::{Error, INSTALLATION};
use crate::finding::finding;
use crate::sources::Sources;

pub(crate) async fn findings(
    sources: &Sources,
    name: &str,
    checks: &[NodeConditionCheck],
    node: Option<&str>,
) -> Result<Vec<Finding>, Error> {
    let node = node.ok_or(Error::NewerVersion("its source"))?;
    let nodes: Api<Node> = Api::all(sources.client.clone());
    let read = nodes.get(node).await;
    let read = read.map_err(|error| Error::kubernetes(format!("read Node {node}"), error, INSTALLATION))?;
    judge(
        name,
        checks,
        &read.status.unwrap_or_default().conditions.unwrap_or_default(),
    )
}

fn judge(name: &str, checks: &[NodeConditionCheck], conditions: &[NodeCondition]) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for check in checks {
        let expected = match check.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => return Err(Error::NewerVersion("nodeConditions.status")),
        };
        let condition = conditions.iter().find(|condition| condition.type_ == check.type_);
        let text = match condition {
            Some(condition) if condition.status == expected => continue,
            Some(condition) => {
                let message = condition.message.as_deref().unwrap_or_default();
                let message = Some(message).filter(|message| !message.is_empty());
                let message = message.map_or(String::new(), |message| format!(" ({message})"));
                format!(
                    "condition {} is {}{message}, expected is {expected}",
                    check.type_, condition.status
                )
            }
            None => format!("the node has no condition {}, expected is {expected}", check.type_),
        };
        findings.push(finding(name, &check.type_, &text));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(type_: &str, status: &str, message: &str) -> NodeCondition {
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            message: Some(message.to_owned()),
            ..NodeCondition::default()
        }
    }

    fn wants(type_: &str, status: ConditionStatus) -> NodeConditionCheck {
        NodeConditionCheck {
            type_: type_.to_owned(),
            status,
        }
    }

    #[test]
    fn a_condition_with_another_status_and_a_missing_one_fail() {
        let conditions = [has("Ready", "True", ""), has("KernelDeadlock", "True", "task hung")];
        let checks = [
            wants("Ready", ConditionStatus::True),
            wants("KernelDeadlock", ConditionStatus::False),
            wants("DiskFine", ConditionStatus::True),
        ];
        let found = judge("npd", &checks, &conditions).unwrap();
        let texts: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "condition KernelDeadlock is True (task hung), expected is False",
                "the node has no condition DiskFine, expected is True"
            ]
        );
        let newer = [wants("Ready", ConditionStatus::Unknown)];
        assert!(judge("npd", &newer, &conditions).is_err());
    }
}
