use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::*;

/// A pretended API server with `ReplicaSet`s in the namespace `shop`; clones are the same server.
#[derive(Clone, Default)]
struct Server {
    /// How many replicas of each are ready, of two; one that is not here is forbidden.
    ready: Arc<Mutex<BTreeMap<String, i32>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(all: &[(&str, i32)]) -> Self {
        let server = Self::default();
        for (name, ready) in all {
            server.set(name, *ready);
        }
        server
    }

    fn set(&self, name: &str, ready: i32) {
        self.ready.lock().unwrap().insert(name.to_owned(), ready);
    }

    /// What was read since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let ready = server.ready.lock().unwrap().get(&name).copied();
            let (code, body) = match ready {
                Some(ready) => (
                    200,
                    json!({"metadata": {}, "spec": {"replicas": 2}, "status": {"readyReplicas": ready}}),
                ),
                None => (
                    403,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
                        "message": "not permitted"}),
                ),
            };
            server.asked.lock().unwrap().push(name);
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            async move { Ok::<_, Infallible>(response) }
        });
        Client::new(service, "default")
    }
}

fn probe(names: &[&str]) -> WorkloadProbe {
    let counted = names.iter().map(|name| Workload {
        owner: format!("ReplicaSet shop/{name}"),
        deployment: None,
        replicas: Some(2),
    });
    WorkloadProbe {
        counted: counted.collect(),
        missing: None,
    }
}

fn shown(found: WorkloadReadiness) -> (Vec<String>, Option<String>) {
    match found {
        WorkloadReadiness::NotReady { workloads, failure } => (workloads, failure),
        WorkloadReadiness::Ready | WorkloadReadiness::Unknown => panic!("{found:?}"),
    }
}

#[tokio::test]
async fn only_the_workloads_that_were_not_ready_are_read_again() {
    let server = Server::new(&[("a", 2), ("b", 1), ("c", 0)]);
    let (clients, mut probe) = (DrainClients::from(server.client()), probe(&["a", "b", "c"]));
    let (workloads, failure) = shown(probe.check(&clients, "w-01").await);
    assert_eq!(
        workloads,
        ["ReplicaSet shop/b (1 of 2 ready)", "ReplicaSet shop/c (0 of 2 ready)"]
    );
    assert_eq!(
        (server.asked(), failure),
        (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], None)
    );
    server.set("b", 2);
    let (workloads, _) = shown(probe.check(&clients, "w-01").await);
    assert_eq!(workloads, ["ReplicaSet shop/c (0 of 2 ready)"]);
    assert_eq!(server.asked(), ["b", "c"]);
    server.set("c", 2);
    assert_eq!(probe.check(&clients, "w-01").await, WorkloadReadiness::Ready);
    assert_eq!(server.asked(), ["c"]);
    // An answer that was not used in time: all count again.
    server.set("a", 0);
    let (workloads, _) = shown(probe.check(&clients, "w-01").await);
    assert_eq!(workloads, ["ReplicaSet shop/a (0 of 2 ready)"]);
}

#[tokio::test]
async fn a_few_workloads_are_read_at_a_time_and_all_are_named() {
    let names: Vec<String> = (0..MAX_READS + 5).map(|number| format!("w{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = Server::new(&names.iter().map(|name| (*name, 1)).collect::<Vec<_>>());
    let (clients, mut probe) = (DrainClients::from(server.client()), probe(&names));
    for reads in [names.len(), MAX_READS, MAX_READS] {
        let (workloads, _) = shown(probe.check(&clients, "w-01").await);
        assert_eq!((workloads.len(), server.asked().len()), (names.len(), reads));
    }
}

#[tokio::test]
async fn a_workload_that_cannot_be_read_is_not_ready_and_the_remedy_is_said() {
    let server = Server::new(&[("a", 2)]);
    let (clients, mut probe) = (DrainClients::from(server.client()), probe(&["a", "b", "c"]));
    let (workloads, failure) = shown(probe.check(&clients, "w-01").await);
    assert_eq!(
        workloads,
        ["ReplicaSet shop/b (not known)", "ReplicaSet shop/c (not known)"]
    );
    let failure = failure.unwrap();
    assert!(failure.starts_with("cannot read ReplicaSet shop/b"), "{failure}");
    assert!(failure.contains("grant the permission: apply the chart"), "{failure}");
}
