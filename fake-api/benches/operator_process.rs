//! What the process of the operator needs in a large cluster: memory, processor time and requests.
//!
//! `make bench-memory` builds the operator of the image and runs it against an API server in memory, so that neither etcd nor
//! thousands of emulated kubelets compete with it. The Nodes are as large as real ones. `COUNT` is the number of nodes
//! (5,000 unless set), `OPERATOR` the program, `SECONDS` how long each part lasts (60).
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use lockkeeper_fake_api::{FakeApi, Key};
use lockkeeper_kube_util::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::ServiceExt;

/// Requests by verb and kind, since they were last taken.
type Requests = Arc<Mutex<BTreeMap<String, usize>>>;

/// A kubelet reports this often that nothing has changed.
const HEARTBEAT: Duration = Duration::from_mins(5);
/// A clock tick of `/proc/PID/stat`.
const TICK: Duration = Duration::from_millis(10);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count = usize::try_from(setting("COUNT", 5_000)).unwrap();
    let part = Duration::from_secs(setting("SECONDS", 60));
    // `cargo bench` runs in the directory of this crate; `cargo test` builds this and names no operator.
    let Ok(program) = std::env::var("OPERATOR") else {
        return println!("set OPERATOR to the program, as `make bench-memory` does");
    };
    let api = FakeApi::new(Clock::machine());
    let requests = Requests::default();
    let counted = requests.clone();
    api.add_spectator(move |request| {
        let what = format!("{:?} {}", request.verb, request.resource.plural);
        *counted.lock().unwrap().entry(what).or_default() += 1;
    });
    fill(&api, count);
    let leader = Operator::start(&program, "leader", &serve(&api, "leader").await);
    println!("{count} nodes of {} bytes, parts of {part:?}\n", node_size(&api));
    println!("| part | RSS | of it data | peak RSS | processor time | requests |\n|---|---|---|---|---|---|");
    let begin = Instant::now();
    while !has_status(&api) {
        sleep(Duration::from_millis(20)).await;
    }
    row("start to the status of the policy", &leader, &requests, begin.elapsed());
    measure("idle", &leader, &requests, part, async {}).await;
    measure(
        "heartbeats of all kubelets",
        &leader,
        &requests,
        part,
        beat(&api, count),
    )
    .await;
    measure("all lists once more", &leader, &requests, part, async {
        api.compact();
        api.end_watches(None, true);
    })
    .await;
    let other = json!({"spec": {"disruption": {"topology": [{"key": "feature.example/cpu-flag-3", "maxDomains": 1}]}}});
    measure(
        "a change of the policy that all nodes are read again for",
        &leader,
        &requests,
        part,
        async {
            api.change(&Key::cluster("rebootpolicies", "all"), &other);
        },
    )
    .await;
    measure(
        "one node is rebooted, apart from its agent",
        &leader,
        &requests,
        part,
        async {
            require_reboot(&api, count / 2);
        },
    )
    .await;
    requests.lock().unwrap().clear();
    let standby = Operator::start(&program, "standby", &serve(&api, "standby").await);
    measure("standby, from its start", &standby, &requests, part, async {}).await;
}

/// Does something and prints what the process needed for so long from then on.
async fn measure(name: &str, operator: &Operator, requests: &Requests, part: Duration, what: impl Future<Output = ()>) {
    operator.reset_peak();
    let (begin, before) = (Instant::now(), operator.processor_time());
    requests.lock().unwrap().clear();
    tokio::select! {
        () = async { what.await; std::future::pending::<()>().await } => {}
        () = sleep(part) => {}
    }
    row(
        name,
        operator,
        requests,
        operator.processor_time().checked_sub(before).unwrap(),
    );
    assert!(begin.elapsed() >= part);
}

fn row(name: &str, operator: &Operator, requests: &Requests, time: Duration) {
    let memory = |field| operator.status(field) / 1024;
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    let all: usize = requests.values().sum();
    let kinds: Vec<String> = requests.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let (rss, data, peak) = (memory("VmRSS"), memory("RssAnon"), memory("VmHWM"));
    println!(
        "| {name} | {rss} MiB | {data} MiB | {peak} MiB | {} ms | {all}: {} |",
        time.as_millis(),
        kinds.join(", ")
    );
}

/// Serves the API on a port of its own; returns the address.
async fn serve(api: &FakeApi, client: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let api = api.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let api = api.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let api = api.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let request = http::Request::from_parts(parts, Body::from(body.to_vec()));
                    let answer = api.service(client, Duration::from_secs(30)).oneshot(request).await;
                    Ok::<_, Infallible>(answer.unwrap())
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// A process of the operator, which ends with this value.
struct Operator(Child);

impl Operator {
    fn start(program: &str, name: &str, server: &str) -> Self {
        let config = std::env::temp_dir().join(format!("lockkeeper-bench-{}-{name}.yaml", std::process::id()));
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": server}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        std::fs::write(&config, content.to_string()).unwrap();
        let child = Command::new(program)
            .args([
                "--kubeconfig",
                config.to_str().unwrap(),
                "--http-address",
                "127.0.0.1:0",
                "--pod-name",
                name,
            ])
            .stdout(Stdio::null())
            .stderr(if std::env::var("VERBOSE").is_ok() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .unwrap();
        Self(child)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(Path::new("/proc").join(self.0.id().to_string()).join(file)).unwrap()
    }

    /// In KiB.
    fn status(&self, field: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn reset_peak(&self) {
        let file = Path::new("/proc").join(self.0.id().to_string()).join("clear_refs");
        std::fs::write(file, "5").unwrap();
    }

    fn processor_time(&self) -> Duration {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u32 = [11, 12]
            .iter()
            .map(|index| fields[*index].parse::<u32>().unwrap())
            .sum();
        TICK * ticks
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn name(number: usize) -> String {
    format!("worker-{number:05}.example")
}

/// Nodes as a cloud has them, each with a record whose agent has reported that it is up to date, and one policy.
fn fill(api: &FakeApi, count: usize) {
    for name in ["lockkeeper-system", "default"] {
        api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }
    for number in 0..count {
        let (name, boot) = (name(number), format!("0b2c8f5e-31f0-4a49-9d8a-{number:012}"));
        let mut labels: BTreeMap<String, String> = (0..16)
            .map(|label| (format!("feature.example/cpu-flag-{label}"), "true".to_owned()))
            .collect();
        labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
        labels.insert("kubernetes.io/hostname".to_owned(), name.clone());
        labels.insert("topology.kubernetes.io/zone".to_owned(), format!("z{}", number % 3));
        let images: Vec<Value> = (0..50)
            .map(|image| json!({"names": [format!("registry.example/team/{image}@sha256:{:064x}", image * number)], "sizeBytes": 1}))
            .collect();
        api.put(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"csi.volume.kubernetes.io/nodeid": "x".repeat(500)},
                "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": "x".repeat(4_000)}}]},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {
                "images": images,
                "nodeInfo": {"bootID": boot, "kernelVersion": "6.1.0-28-amd64", "operatingSystem": "linux"},
                "conditions": [ready("2026-11-01T00:00:00Z")],
            },
        }));
        let node = api.get(&Key::cluster("nodes", &name)).unwrap();
        api.put(json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {"policy": "all"},
            "metadata": {"name": name, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}]},
            "status": {"host": {"bootID": boot, "kernel": "6.1.0-28-amd64", "bootTime": "2026-11-01T00:00:00Z",
                "rebootCapable": true, "confined": true, "agentVersion": "0.1.0", "rebootRequired": {"required": false}}},
        }));
    }
    api.put(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "all", "generation": 1},
        "spec": {"disruption": {"maxUnavailable": "50%"}},
    }));
}

fn ready(heartbeat: &str) -> Value {
    json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
        "lastHeartbeatTime": heartbeat, "lastTransitionTime": "2026-11-01T00:00:00Z"})
}

fn node_size(api: &FakeApi) -> usize {
    let node = api.get(&Key::cluster("nodes", &name(1))).unwrap();
    node.to_string().len()
}

fn has_status(api: &FakeApi) -> bool {
    let policy = api.get(&Key::cluster("rebootpolicies", "all")).unwrap();
    !policy["status"].is_null()
}

/// The kubelets report one after the other, for ever.
async fn beat(api: &FakeApi, count: usize) {
    let pause = HEARTBEAT / u32::try_from(count).unwrap();
    let mut next = tokio::time::Instant::now();
    for number in (0..count).cycle() {
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let status = json!({"status": {"conditions": [ready(&now)]}});
        api.change(&Key::cluster("nodes", &name(number)), &status);
        next += pause;
        tokio::time::sleep_until(next).await;
    }
}

fn require_reboot(api: &FakeApi, number: usize) {
    let required = json!({"required": true, "since": "2026-11-22T00:00:00Z", "reasons": ["linux-image-6.1.0-29"]});
    let status = json!({"status": {"host": {"rebootRequired": required}}});
    api.change(&Key::cluster("nodereboots", &name(number)), &status);
}
