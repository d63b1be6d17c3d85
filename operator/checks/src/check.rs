//! One check, and the evaluator that knows all sources.

use kube::Client;
use lockkeeper_crds::{Check, OnCheckError};
use lockkeeper_jobs::Jobs;
use lockkeeper_kube_util::{Clock, bounded};
use lockkeeper_planner::{CheckStage, CheckVerdict, Finding};

use crate::asked_node::AskedNode;
use crate::error::Error;
use crate::expression::Expressions;
use crate::finding::MAX_FINDINGS;
use crate::sources::Sources;
use crate::{http, job, node_conditions, object, pods, prometheus};

/// How long the text of an error may be.
const ERROR: usize = 500;

/// Evaluates checks against their sources.
#[derive(Clone)]
pub struct Evaluator(Sources);

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator").finish_non_exhaustive()
    }
}

impl Evaluator {
    /// An evaluator. The client must not retry by itself; `namespace` is the operator's own, whose Secrets checks may name.
    pub fn new(client: Client, namespace: String, expressions: Expressions, clock: Clock) -> Self {
        Self(Sources {
            jobs: Jobs::new(client.clone(), namespace.clone()),
            client,
            namespace,
            outbound: lockkeeper_outbound::Client::default(),
            expressions,
            clock,
        })
    }

    /// What a check of this stage finds now. A check that asks about a node needs its name, and runs a Job only if it is
    /// told for what.
    pub async fn evaluate(&self, stage: CheckStage, check: &Check, node: Option<AskedNode<'_>>) -> CheckVerdict {
        let verdict = match (&check.job, node) {
            (Some(from), Some(node)) => job::verdict(&self.0, stage, &check.name, from, node).await,
            _ => self.findings(check, node.map(|node| node.name)).await.map(verdict),
        };
        match verdict {
            Ok(verdict) => verdict,
            Err(error) => CheckVerdict::Unavailable {
                error: bounded(&error.to_string(), ERROR),
                ignored: match check.on_error {
                    OnCheckError::Ignore => true,
                    OnCheckError::Block | OnCheckError::Unknown => false,
                },
            },
        }
    }

    /// The sources of a check about findings are tried in turn; admission has seen to it that it has exactly one.
    async fn findings(&self, check: &Check, node: Option<&str>) -> Result<Vec<Finding>, Error> {
        if let Some(from) = &check.prometheus {
            return prometheus::findings(&self.0, &check.name, from).await;
        }
        if let Some(from) = &check.pods {
            return pods::findings(&self.0, &check.name, from, node).await;
        }
        if let Some(from) = &check.object {
            return object::findings(&self.0, &check.name, from).await;
        }
        if let Some(from) = &check.http {
            return http::findings(&self.0, &check.name, from).await;
        }
        if check.node_conditions.is_empty() {
            return Err(Error::NewerVersion("its source"));
        }
        node_conditions::findings(&self.0, &check.name, &check.node_conditions, node).await
    }
}

fn verdict(mut findings: Vec<Finding>) -> CheckVerdict {
    if findings.is_empty() {
        return CheckVerdict::Passing;
    }
    findings.truncate(MAX_FINDINGS);
    CheckVerdict::Failing(findings)
}
