use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use lockkeeper_planner::DaemonSetReadiness;
use lockkeeper_snapshot::{Filling, Local, ObservedObjects, snapshot};
use serde_json::{Value, json};

use tokio::sync::{Notify, mpsc};

use super::*;

const BEFORE: &str = "2026-11-13T12:00:00Z";
const AFTER: &str = "2026-11-21T12:03:00Z";

/// A pretended API server with one pod of `DaemonSet` `kube-system/cni`.
#[derive(Clone)]
struct Server {
    /// Since when the pod is ready, if it is; none = the server is in trouble.
    pod: Arc<Mutex<Option<(bool, &'static str)>>>,
    changed: Arc<Notify>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    fn new(pod: Option<(bool, &'static str)>) -> Self {
        Self {
            pod: Arc::new(Mutex::new(pod)),
            changed: Arc::default(),
            asked: Arc::default(),
        }
    }

    fn says(&self, pod: Option<(bool, &'static str)>) {
        *self.pod.lock().unwrap() = pod;
        self.changed.notify_waiters();
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            server.asked.lock().unwrap().push(Instant::now());
            let watches = request.uri().query().unwrap_or_default().contains("watch=true");
            async move { Ok::<_, Infallible>(server.answer(watches).await) }
        });
        Client::new(service, "default")
    }

    /// A list at once; a watch shows the next change and ends.
    async fn answer(&self, watches: bool) -> Response<Body> {
        if watches {
            self.changed.notified().await;
        }
        let known = *self.pod.lock().unwrap();
        let answer = known.map(|(ready, since)| {
            if watches {
                event(ready, since)
            } else {
                list(ready, since)
            }
        });
        let code = answer.as_ref().map_or(503, |_| 200);
        let failure = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503, "message": "no"});
        let body = format!("{}\n", answer.unwrap_or(failure)).into_bytes();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }
}

fn list(ready: bool, since: &str) -> Value {
    let pods = [pod(ready, since)];
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": pods})
}

fn event(ready: bool, since: &str) -> Value {
    json!({"type": "MODIFIED", "object": pod(ready, since)})
}

fn pod(ready: bool, since: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "cni", "uid": "set", "controller": true});
    let status = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "cni-x", "namespace": "kube-system", "uid": "x", "resourceVersion": "2", "ownerReferences": [owner],
        },
        "status": {"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": since}]},
    })
}

/// Node `w-01` in this boot, in the middle of an operation that counts one `DaemonSet`.
fn seen(boot: &str) -> Snapshot {
    let node = json!({"metadata": {"name": "w-01", "uid": "u"}, "status": {"nodeInfo": {"bootID": boot}}});
    let operation = json!({
        "id": "op", "phase": "Verifying", "policy": "general", "bootIDBefore": "old", "settings": {},
        "startedTime": "2026-11-21T12:00:00Z", "daemonSets": [{"name": "kube-system/cni", "readyTime": BEFORE}],
    });
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "w-01", "uid": "u"});
    let reboot = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {},
        "metadata": {"name": "w-01", "ownerReferences": [owner]}, "status": {"operation": operation},
    });
    let seen = ObservedObjects {
        nodes: [("w-01".to_owned(), Arc::new(serde_json::from_value(node).unwrap()))].into(),
        reboots: [("w-01".to_owned(), Arc::new(serde_json::from_value(reboot).unwrap()))].into(),
        ..ObservedObjects::default()
    };
    snapshot(&seen, &Local::default())
}

/// The answer of the probe of that node in this boot.
fn answer(probes: &Probes<DaemonSetProbe>, boot: &str) -> DaemonSetReadiness {
    let mut snapshot = seen(boot);
    probes.fill(&mut Filling::new(&mut snapshot, &mut BTreeSet::new()));
    snapshot.nodes["w-01"].daemon_sets.clone()
}

fn probes(server: &Server) -> (Probes<DaemonSetProbe>, mpsc::UnboundedReceiver<()>) {
    let (wake_up, wake_ups) = WakeUp::channel();
    let mut probes = Probes::<DaemonSetProbe>::new(server.client().into(), wake_up);
    probes.reconcile(&["w-01".to_owned()], &seen("new"));
    (probes, wake_ups)
}

#[tokio::test(start_paused = true)]
async fn a_node_is_probed_until_it_is_ready_and_each_new_answer_wakes_the_loop_once() {
    let server = Server::new(Some((true, BEFORE)));
    let (probes, mut wake_ups) = probes(&server);
    assert_eq!(answer(&probes, "new"), DaemonSetReadiness::Unknown);
    assert!(probes.expected_by(Instant::now()).is_some(), "no news yet");
    wake_ups.recv().await.unwrap();
    let DaemonSetReadiness::NotReady { what } = answer(&probes, "new") else {
        panic!("an old word counts")
    };
    assert_eq!(
        what,
        "DaemonSet kube-system/cni: pod cni-x has not reported Ready since the reboot"
    );
    assert!(probes.expected_by(Instant::now()).is_none());
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(server.asked(), 2, "a list and a watch");
    assert!(wake_ups.try_recv().is_err(), "nothing new");
    server.says(Some((true, AFTER)));
    wake_ups.recv().await.unwrap();
    assert_eq!(answer(&probes, "new"), DaemonSetReadiness::Ready);
    assert_eq!(
        answer(&probes, "newer"),
        DaemonSetReadiness::Unknown,
        "an answer is for one boot"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_ready_that_is_not_used_in_time_expires() {
    let server = Server::new(Some((true, AFTER)));
    let (probes, mut wake_ups) = probes(&server);
    wake_ups.recv().await.unwrap();
    assert_eq!(answer(&probes, "new"), DaemonSetReadiness::Ready);
    server.says(None);
    tokio::time::sleep(VALID_FOR + Duration::from_secs(1)).await;
    let DaemonSetReadiness::NotReady { what } = answer(&probes, "new") else {
        panic!("no answer is no yes")
    };
    assert!(
        what.contains("could not be checked: cannot read the pods of node w-01"),
        "{what}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_the_plan_no_longer_names_is_not_probed() {
    let server = Server::new(Some((false, AFTER)));
    let (mut probes, mut wake_ups) = probes(&server);
    wake_ups.recv().await.unwrap();
    probes.reconcile(&[], &seen("new"));
    let asked = server.asked();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(
        (server.asked(), answer(&probes, "new")),
        (asked, DaemonSetReadiness::Unknown)
    );
}
