//! Withdraws the requests to eviction responders that a drain has left, whatever ended it.
//!
//! No drain withdraws its own: it may be ended at any time, also together with this process. So the requests are looked
//! for in the API server whenever a drain has ended, and once when this replica begins to lead.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use lockkeeper_drain::withdraw_requests;
use lockkeeper_kube_util::error_chain;

use super::supervisor::{Supervisor, WakeUp};

/// A withdrawal that failed is tried again after this.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// The withdrawal that runs, and what it must leave alone.
pub struct Withdrawals {
    /// `None` if responders are not asked.
    client: Option<Client>,
    /// The nodes that were drained in the last pass; `None` before the first one.
    draining: Option<BTreeSet<String>>,
    task: Supervisor<(), BTreeSet<String>, ()>,
}

impl std::fmt::Debug for Withdrawals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Withdrawals")
            .field("draining", &self.draining)
            .finish_non_exhaustive()
    }
}

impl Withdrawals {
    /// Nothing is withdrawn yet, and nothing will be without a client.
    pub fn new(client: Option<Client>, wake_up: WakeUp) -> Self {
        Self {
            client,
            draining: None,
            task: Supervisor::new(wake_up),
        }
    }

    /// Starts a withdrawal if a drain has ended since the last pass, or if this is the first one. These nodes are drained.
    pub fn reconcile(&mut self, draining: BTreeSet<String>) {
        let Some(client) = self.client.clone() else {
            return;
        };
        let has_ended = self.draining.as_ref().is_none_or(|before| !before.is_subset(&draining));
        // One that runs would withdraw the requests of a drain that has just begun.
        let is_outdated = self
            .task
            .get(&())
            .is_some_and(|task| !task.is_finished() && task.question != draining);
        if has_ended || is_outdated {
            let nodes = draining.clone();
            self.task.start((), nodes.clone(), (), |_| withdraw(client, nodes));
        }
        self.draining = Some(draining);
    }

    /// Withdraws nothing any more: another replica leads.
    pub fn stop(&mut self) {
        self.task.stop();
        self.draining = None;
    }
}

/// Withdraws the requests for pods of all nodes but these; what fails is tried again.
async fn withdraw(client: Client, draining: BTreeSet<String>) {
    loop {
        match withdraw_requests(&client, &draining).await {
            Ok(0) => return,
            Ok(count) => return tracing::info!("{count} eviction requests of drains that have ended were withdrawn"),
            Err(error) => {
                let delay = RETRY_DELAY.as_secs();
                tracing::warn!(
                    "withdrawing eviction requests: {}; retried in {delay} s",
                    error_chain(&error)
                );
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// A client whose lists are empty, after so many that fail, and how many lists there were.
    fn client(failures: usize) -> (Client, Arc<AtomicUsize>) {
        let lists = Arc::new(AtomicUsize::new(0));
        let counted = lists.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri().path(), "/apis/lifecycle.k8s.io/v1alpha1/evictionrequests");
            let fails = counted.fetch_add(1, Ordering::Relaxed) < failures;
            let response = Response::builder().status(if fails { 500 } else { 200 });
            let body = Body::from(br#"{"metadata": {}, "items": []}"#.to_vec());
            async move { Ok::<_, Infallible>(response.body(body).unwrap()) }
        });
        (Client::new(service, "default"), lists)
    }

    fn nodes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn lists(count: &AtomicUsize) -> usize {
        tokio::time::sleep(Duration::from_secs(1)).await;
        count.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_looked_for_at_the_start_and_after_each_drain() {
        let (client, count) = client(0);
        let mut withdrawals = Withdrawals::new(Some(client), WakeUp::channel().0);
        let passes: [(&[&str], usize); 6] = [
            (&["a"], 1),
            (&["a"], 1),
            (&["a", "b"], 1),
            (&["b"], 2),
            (&[], 3),
            (&[], 3),
        ];
        for (draining, expected) in passes {
            withdrawals.reconcile(nodes(draining));
            assert_eq!(lists(&count).await, expected, "{draining:?}");
        }
        // Another replica led in the meantime.
        withdrawals.stop();
        withdrawals.reconcile(nodes(&[]));
        assert_eq!(lists(&count).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_withdrawal_that_failed_is_repeated_and_spares_a_drain_that_has_begun() {
        let (client, count) = client(2);
        let mut withdrawals = Withdrawals::new(Some(client), WakeUp::channel().0);
        withdrawals.reconcile(nodes(&["a"]));
        assert_eq!(lists(&count).await, 1);
        withdrawals.reconcile(nodes(&["a", "b"]));
        assert_eq!(lists(&count).await, 2, "started anew, with what is drained now");
        assert_eq!(withdrawals.task.get(&()).unwrap().question, nodes(&["a", "b"]));
        tokio::time::sleep(RETRY_DELAY).await;
        assert_eq!(lists(&count).await, 3);
        tokio::time::sleep(10 * RETRY_DELAY).await;
        assert_eq!(lists(&count).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_withdrawn_where_responders_are_not_asked() {
        let mut withdrawals = Withdrawals::new(None, WakeUp::channel().0);
        withdrawals.reconcile(nodes(&["a"]));
        withdrawals.reconcile(nodes(&[]));
        assert!(withdrawals.task.get(&()).is_none());
    }
}
