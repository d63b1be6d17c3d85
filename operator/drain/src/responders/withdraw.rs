//! Withdraws our requests for pods of nodes that are not drained any more.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::names;
use lockkeeper_kube_util::{error_chain, label_value};

use super::REQUESTER;
use super::watch::Kind;
use crate::error::Error;
use crate::fresh_reads::with_timeout;
use crate::limits::{MAX_REQUESTS_PER_BUDGET, READ_TIMEOUT};

/// Deletes our requests for pods of all nodes but these, and returns how many there were.
///
/// To delete a request is to withdraw it: a responder that works on the eviction then has to stop, unless another
/// requester asks for it too, in a request of its own. Nothing is done where the API is not served.
pub async fn withdraw_requests(client: &Client, draining: &BTreeSet<String>) -> Result<usize, Error> {
    let kind = Kind::Requests.resource();
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let ours = ListParams::default().labels(&format!(
        "{}={},{}",
        names::PART_OF_LABEL,
        names::PART_OF,
        names::JOB_NODE
    ));
    let requests = match with_timeout(all.list(&ours), || "eviction requests".to_owned()).await {
        Ok(requests) => requests.items,
        Err(Error::Read { source, .. }) if is_not_found(&source) => return Ok(0),
        Err(error) => return Err(error),
    };
    let draining: BTreeSet<String> = draining.iter().map(|node| label_value(node)).collect();
    // Labels are anyone's to set; only the requester says whose it is.
    let is_ours = |request: &DynamicObject| request.data["spec"]["requester"] == REQUESTER;
    let is_drained = |request: &DynamicObject| {
        let node = request.labels().get(names::JOB_NODE);
        node.is_some_and(|node| draining.contains(node))
    };
    let left = requests
        .into_iter()
        .filter(|request| is_ours(request) && !is_drained(request));
    let withdrawals = stream::iter(left).map(|request| withdraw(client, request));
    let withdrawn: Vec<Result<(), Error>> = withdrawals.buffered(MAX_REQUESTS_PER_BUDGET).collect().await;
    let count = withdrawn.len();
    withdrawn.into_iter().collect::<Result<(), Error>>()?;
    Ok(count)
}

/// Deletes exactly this request, if it is still there.
async fn withdraw(client: &Client, request: DynamicObject) -> Result<(), Error> {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &Kind::Requests.resource());
    let exactly = DeleteParams {
        preconditions: Some(Preconditions {
            uid: request.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let message = match tokio::time::timeout(READ_TIMEOUT, api.delete(&name, &exactly)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) if is_not_found(&error) => return Ok(()),
        Ok(Err(error)) => error_chain(&error),
        Err(_) => format!("no answer within {} s", READ_TIMEOUT.as_secs()),
    };
    Err(Error::Withdraw {
        request: format!("{namespace}/{name}"),
        message,
    })
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
