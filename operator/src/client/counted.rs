//! Counts what is asked of the API server, where every request passes.

use std::sync::Arc;

use http::{Method, Response, Uri};
use lockkeeper_kube_util::is_watch;
use tower::BoxError;

use super::layer::Inspect;
use crate::health::Component;
use crate::metrics::Metrics;

/// Counts the requests of a connection.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) metrics: Arc<Metrics>,
    /// The part of the operator that gets on with each request that ends.
    pub(super) progress: Option<Component>,
}

impl Inspect for Counted {
    type Pending = Count;

    fn request(&self, method: &Method, uri: &Uri) -> Result<Count, BoxError> {
        Ok(Count {
            verb: verb(method, uri),
            is_eviction: is_eviction(uri),
            code: None,
            metrics: self.metrics.clone(),
            progress: self.progress.clone(),
        })
    }

    fn answer<B>(mut count: Count, answer: Option<&Response<B>>) {
        count.code = answer.map(|answer| answer.status().as_u16());
    }
}

/// Counts when it is dropped: whoever asks may lose patience before there is an answer.
#[derive(Debug)]
pub(super) struct Count {
    verb: &'static str,
    is_eviction: bool,
    code: Option<u16>,
    metrics: Arc<Metrics>,
    progress: Option<Component>,
}

impl Drop for Count {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.progress();
        }
        self.metrics.count_request(self.verb, self.code);
        if self.is_eviction {
            self.metrics.count_eviction(eviction_result(self.code));
        }
    }
}

fn verb(method: &Method, uri: &Uri) -> &'static str {
    match method.as_str() {
        "GET" if is_watch(uri) => "watch",
        "GET" => "get",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// A question whether a pod could leave is none.
fn is_eviction(uri: &Uri) -> bool {
    uri.path().ends_with("/eviction") && !is_dry_run(uri)
}

/// Whether the request changes nothing.
pub(super) fn is_dry_run(uri: &Uri) -> bool {
    parameters(uri).any(|parameter| parameter.starts_with("dryRun="))
}

fn parameters(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().unwrap_or_default().split('&')
}

/// One of [`crate::metrics::EVICTIONS`].
fn eviction_result(code: Option<u16>) -> &'static str {
    match code {
        Some(200..=299) => "granted",
        Some(429) => "refused",
        Some(404) => "gone",
        _ => "error",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use tower::Service;

    use super::super::layer::Inspected;
    use super::*;
    use crate::health::Health;

    fn asked(method: &Method, uri: &str) -> (&'static str, bool) {
        let uri = uri.parse().unwrap();
        (verb(method, &uri), is_eviction(&uri))
    }

    #[test]
    fn a_watch_is_no_list() {
        assert_eq!(
            asked(&Method::GET, "/api/v1/nodes?watch=true&limit=5"),
            ("watch", false)
        );
        assert_eq!(asked(&Method::GET, "/api/v1/nodes?limit=5"), ("get", false));
    }

    #[test]
    fn a_dry_run_is_no_eviction() {
        let path = "/api/v1/namespaces/shop/pods/db-0/eviction?fieldValidation=Strict";
        assert_eq!(asked(&Method::POST, path), ("post", true));
        assert_eq!(asked(&Method::POST, &format!("{path}&dryRun=All")), ("post", false));
    }

    #[test]
    fn every_result_of_an_eviction_is_there_from_the_start() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let series = |text: String| text.matches("\nlockkeeper_evictions_total{").count();
        let before = series(metrics.text().unwrap());
        for code in [Some(201), Some(429), Some(404), Some(500), None] {
            drop(Count {
                verb: "post",
                is_eviction: true,
                code,
                metrics: metrics.clone(),
                progress: None,
            });
        }
        let text = metrics.text().unwrap();
        assert!(
            text.contains("lockkeeper_evictions_total{result=\"error\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("lockkeeper_api_requests_total{code=\"none\",verb=\"post\"} 1\n"),
            "{text}"
        );
        assert_eq!(series(text), before);
    }

    #[tokio::test]
    async fn who_loses_patience_is_counted_too() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let silent = tower::service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, std::io::Error>>());
        let mut counted = Inspected {
            inner: silent,
            inspector: Counted {
                metrics: metrics.clone(),
                progress: None,
            },
        };
        let mut asked = counted.call(Request::new(()));
        assert!(futures::poll!(&mut asked).is_pending());
        drop(asked);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("lockkeeper_api_requests_total{code=\"none\",verb=\"get\"} 1\n"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_that_ends_is_progress_whatever_its_answer() {
        let health = Health::default();
        let pass = health.component("pass", Duration::from_mins(1));
        let _busy = pass.busy();
        let slow = tower::service_fn(|_: Request<()>| async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            Err::<Response<()>, _>(std::io::Error::other("no answer"))
        });
        let mut counted = Inspected {
            inner: slow,
            inspector: Counted {
                metrics: Arc::new(Metrics::new().unwrap()),
                progress: Some(pass.clone()),
            },
        };
        for _ in 0..10 {
            counted.call(Request::new(())).await.unwrap_err();
            assert_eq!(health.alive(), Ok(()));
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(health.alive().is_err(), "a pass whose requests do not end is stuck");
    }
}
