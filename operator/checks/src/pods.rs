//! A check of pods: none of them runs, or all are Ready.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::{Selector, SelectorExt};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{PodsCheck, PodsExpected};
use lockkeeper_planner::Finding;

use crate::error::{Error, INSTALLATION};
use crate::finding::finding;
use crate::sources::Sources;

/// How many pods one request returns.
const PAGE: u32 = 500;

pub(crate) async fn findings(
    sources: &Sources,
    name: &str,
    check: &PodsCheck,
    node: Option<&str>,
) -> Result<Vec<Finding>, Error> {
    let selector = Selector::try_from(check.selector.to_kubernetes()).map_err(|error| Error::Field {
        field: "pods.selector",
        cause: format!("cannot be used: {error}"),
    })?;
    let mut params = ListParams::default().limit(PAGE).labels_from(&selector);
    if let Some(node) = node.filter(|_| check.on_node) {
        params = params.fields(&format!("spec.nodeName={node}"));
    }
    let pods: Api<Pod> = match &check.namespace {
        Some(namespace) => Api::namespaced(sources.client.clone(), namespace),
        None => Api::all(sources.client.clone()),
    };
    let mut all = Vec::new();
    loop {
        let page = pods.list(&params).await;
        let page = page.map_err(|error| Error::kubernetes("list Pods".to_owned(), error, INSTALLATION))?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(
            page.items
                .iter()
                .filter(|pod| selector.matches(pod.labels()))
                .map(State::of),
        );
        match next {
            Some(token) => params = params.continue_token(&token),
            None => return judge(name, check.expect, &all),
        }
    }
}

/// A pod, as far as the check reads it.
#[derive(Debug)]
struct State {
    /// `namespace/name`.
    name: String,
    completed: bool,
    deleted: bool,
    ready: bool,
}

impl State {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == "Ready");
        Self {
            name: format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()),
            completed: matches!(phase, Some("Succeeded" | "Failed")),
            deleted: pod.metadata.deletion_timestamp.is_some(),
            ready: ready.is_some_and(|condition| condition.status == "True"),
        }
    }
}

fn judge(name: &str, expect: PodsExpected, pods: &[State]) -> Result<Vec<Finding>, Error> {
    let active = pods.iter().filter(|pod| !pod.completed);
    Ok(match expect {
        PodsExpected::NoneRunning => active
            .map(|pod| finding(name, &pod.name, &format!("pod {} has not completed", pod.name)))
            .collect(),
        PodsExpected::AllReady if pods.iter().all(|pod| pod.completed) => {
            vec![finding(name, "", "no pod matches the selector")]
        }
        PodsExpected::AllReady => active
            .filter(|pod| !pod.ready && !pod.deleted)
            .map(|pod| finding(name, &pod.name, &format!("pod {} is not Ready", pod.name)))
            .collect(),
        PodsExpected::Unknown => return Err(Error::NewerVersion("pods.expect")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, completed: bool, deleted: bool, ready: bool) -> State {
        State {
            name: name.to_owned(),
            completed,
            deleted,
            ready,
        }
    }

    fn texts(expect: PodsExpected, pods: &[State]) -> Vec<String> {
        let found = judge("batch", expect, pods).unwrap();
        found.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn none_running_fails_for_each_pod_that_has_not_completed() {
        let pods = [pod("b/done", true, false, false), pod("b/runs", false, true, true)];
        assert_eq!(
            texts(PodsExpected::NoneRunning, &pods),
            ["pod b/runs has not completed"]
        );
        assert_eq!(texts(PodsExpected::NoneRunning, &[]), [] as [&str; 0]);
    }

    #[test]
    fn all_ready_fails_for_each_pod_that_is_not_and_if_there_is_none() {
        let pods = [
            pod("s/done", true, false, false),
            pod("s/ready", false, false, true),
            pod("s/starts", false, false, false),
            pod("s/leaves", false, true, false),
        ];
        assert_eq!(texts(PodsExpected::AllReady, &pods), ["pod s/starts is not Ready"]);
        assert_eq!(
            texts(PodsExpected::AllReady, &pods[..1]),
            ["no pod matches the selector"]
        );
        assert!(judge("batch", PodsExpected::Unknown, &pods).is_err());
    }
}
