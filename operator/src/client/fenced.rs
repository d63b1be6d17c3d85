//! Requests that change something leave this process only while it leads.

use http::{Method, Response, Uri};
use thiserror::Error;
use tower::BoxError;

use super::counted::is_dry_run;
use super::layer::Inspect;
use crate::leadership::Leadership;

/// Lets the writes of a connection pass only while this process leads, at the moment they are sent.
///
/// Reads, dry runs and Events pass: they change nothing that another leader decides about.
#[derive(Clone, Debug)]
pub(super) struct Fenced {
    pub(super) leadership: Leadership,
}

/// A write that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not sent: this replica leads no more")]
pub struct NotLeading;

impl Inspect for Fenced {
    type Pending = ();

    fn request(&self, method: &Method, uri: &Uri) -> Result<(), BoxError> {
        if needs_leadership(method, uri) && !self.leadership.holds() {
            return Err(NotLeading.into());
        }
        Ok(())
    }

    fn answer<B>((): (), _: Option<&Response<B>>) {}
}

fn needs_leadership(method: &Method, uri: &Uri) -> bool {
    let is_event = uri.path().ends_with("/events") || uri.path().contains("/events/");
    method != Method::GET && !is_event && !is_dry_run(uri)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::time::Duration;

    use http::Request;
    use tower::Service;

    use super::super::layer::Inspected;
    use super::*;

    const EVICTION: &str = "/api/v1/namespaces/shop/pods/db-0/eviction?fieldValidation=Strict";
    const POD: &str = "/api/v1/namespaces/shop/pods/db-0";

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    /// Sends a request and says whether it reached the API server.
    async fn is_sent(leadership: &Leadership, method: Method, uri: &str) -> bool {
        let inner = tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
        let mut fenced = Inspected {
            inner,
            inspector: Fenced {
                leadership: leadership.clone(),
            },
        };
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        match fenced.call(request).await {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is::<NotLeading>(), "{error}");
                false
            }
        }
    }

    #[tokio::test]
    async fn a_leader_that_slept_past_its_lease_sends_no_eviction() {
        let leadership = Leadership::with_clock(|| Duration::from_secs(NOW.get()));
        NOW.set(100);
        leadership.renew(leadership.now(), Duration::from_secs(6));
        assert!(is_sent(&leadership, Method::POST, EVICTION).await);
        assert!(is_sent(&leadership, Method::DELETE, POD).await);
        // The whole process sleeps here: no task of it has seen that the Lease ran out.
        NOW.set(106);
        assert!(!is_sent(&leadership, Method::POST, EVICTION).await);
        assert!(!is_sent(&leadership, Method::DELETE, POD).await);
        leadership.renew(leadership.now(), Duration::from_secs(6));
        assert!(is_sent(&leadership, Method::POST, EVICTION).await);
    }

    #[tokio::test]
    async fn a_replica_that_does_not_lead_reads_and_tries_and_reports_but_writes_nothing() {
        let leadership = Leadership::with_clock(|| Duration::from_secs(1));
        for (method, uri, sent) in [
            (Method::GET, "/api/v1/nodes/w-1", true),
            (Method::POST, &*format!("{EVICTION}&dryRun=All"), true),
            (Method::POST, "/api/v1/namespaces/default/events?fieldManager=x", true),
            (Method::PATCH, "/api/v1/namespaces/default/events/a.1", true),
            (
                Method::PATCH,
                "/api/v1/nodes/w-1?fieldManager=lockkeeper-operator",
                false,
            ),
            (Method::PATCH, "/apis/lockkeeper.dev/v1alpha1/nodereboots/w-1", false),
            (
                Method::PATCH,
                "/apis/lockkeeper.dev/v1alpha1/nodereboots/w-1/status",
                false,
            ),
            (
                Method::PUT,
                "/apis/lockkeeper.dev/v1alpha1/rebootlocks/cluster/status",
                false,
            ),
        ] {
            assert_eq!(is_sent(&leadership, method.clone(), uri).await, sent, "{method} {uri}");
        }
    }
}
