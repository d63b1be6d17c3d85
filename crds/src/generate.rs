//! The custom resource definitions as they are shipped.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{NodeReboot, RebootLock, RebootPolicy, names};

/// All three definitions, in the order of their names.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut all = vec![NodeReboot::crd(), RebootLock::crd(), RebootPolicy::crd()];
    for definition in &mut all {
        let labels = definition.metadata.labels.get_or_insert_default();
        labels.insert(names::PART_OF_LABEL.to_owned(), names::PART_OF.to_owned());
    }
    all
}
