//! A check of any object of the cluster: an expression over it.

use kube::api::DynamicObject;
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use lockkeeper_crds::ObjectCheck;
use lockkeeper_planner::Finding;

use crate::error::{Error, INSTALLATION};
use crate::finding::finding;
use crate::sources::Sources;

/// What helps if the operator may not read an object.
const OBJECT_RIGHT: &str = "name its resource in the chart's value checks.objects, or apply a ClusterRole that lets the operator \
                            get it";

pub(crate) async fn findings(sources: &Sources, name: &str, check: &ObjectCheck) -> Result<Vec<Finding>, Error> {
    let object = read(&sources.client, check).await?;
    if sources.expressions.is_true(&check.expression, &object).await? {
        return Ok(Vec::new());
    }
    let text = format!("{} is false for {}", check.expression, described(check));
    Ok(vec![finding(name, "", &text)])
}

async fn read(client: &Client, check: &ObjectCheck) -> Result<serde_json::Value, Error> {
    let (group, version) = check.api_version.split_once('/').unwrap_or(("", &check.api_version));
    let kind = GroupVersionKind::gvk(group, version, &check.kind);
    let unknown = || Error::NoKind {
        api_version: check.api_version.clone(),
        kind: check.kind.clone(),
    };
    let what = format!("look up kind {} of {}", check.kind, check.api_version);
    let (resource, capabilities) = pinned_kind(client, &kind).await.map_err(|error| match error {
        kube::Error::Discovery(_) => unknown(),
        kube::Error::Api(status) if status.code == 404 => unknown(),
        error => Error::kubernetes(what, error, INSTALLATION),
    })?;
    let api: Api<DynamicObject> = match (&capabilities.scope, &check.namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => {
            return Err(Error::Field {
                field: "object.namespace",
                cause: format!("is missing: kind {} has a namespace", check.kind),
            });
        }
    };
    let object = api.get(&check.name).await;
    let object =
        object.map_err(|error| Error::kubernetes(format!("read {}", described(check)), error, OBJECT_RIGHT))?;
    serde_json::to_value(object).map_err(|error| Error::Expression(error.to_string()))
}

/// `Kind namespace/name`.
fn described(check: &ObjectCheck) -> String {
    match &check.namespace {
        Some(namespace) => format!("{} {namespace}/{}", check.kind, check.name),
        None => format!("{} {}", check.kind, check.name),
    }
}
