//! Pods that name responders for their eviction (`spec.evictionResponders`) are not evicted: their responders are asked.
//!
//! This is the API of KEP-4563, alpha in Kubernetes 1.37: an `EvictionRequest` of ours asks for the eviction of one pod.
//! A controller answers with an `Eviction`, in which it makes the pod's responders active one after another, and in which
//! the active one reports its progress. Everything that depends on this API is in this module: the objects are read field
//! by field, and what is unknown or missing counts as no answer.
//!
//! Only a pod can say that it has responders, and an API server without the API drops that field. So a cluster without
//! it costs no request.

mod object;
mod outcome;
mod request;
mod watch;
mod withdraw;

pub use object::ActiveResponder;
#[cfg(test)]
pub(crate) use object::ObservedEviction;
pub(crate) use outcome::NamespaceResponders;
pub(crate) use request::{classify, http_request};
pub(crate) use watch::{ResponderEvent, watches};
pub use withdraw::withdraw_requests;

/// Where the API is served.
const API: &str = "/apis/lifecycle.k8s.io/v1alpha1";

/// Who asks, in each request of ours. Requests with another requester are not ours and are left alone.
const REQUESTER: &str = "lockkeeper.dev/operator";

/// The responder that the API itself adds to each pod, as the last one. It evicts the pod as we do, with a longer delay
/// between two attempts, and names no budget. Once it is active, those of the pod have ended.
const DEFAULT_RESPONDER: &str = "imperative-eviction.k8s.io/evictor";
