use std::convert::Infallible;
use std::sync::Mutex;

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::report::event::EventReason;

/// A pretended API server that takes events and answers with the codes given, then with success.
#[derive(Clone, Default)]
struct Server {
    taken: Arc<Mutex<Vec<Value>>>,
    codes: Arc<Mutex<Vec<u16>>>,
}

impl Server {
    fn answering(codes: &[u16]) -> Self {
        let server = Self::default();
        *server.codes.lock().unwrap() = codes.iter().rev().copied().collect();
        server
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                let event: Value = serde_json::from_slice(&body).unwrap();
                server.taken.lock().unwrap().push(event.clone());
                let code = server.codes.lock().unwrap().pop().unwrap_or(201);
                let answer = if code < 300 {
                    event
                } else {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": "No"})
                };
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, NAMESPACE)
    }
}

fn node(name: &str) -> EventTarget {
    EventTarget::Node {
        name: name.into(),
        uid: format!("uid of {name}"),
    }
}

fn event(reason: EventReason, message: &str) -> Event {
    Event {
        severity: Severity::Normal,
        reason,
        message: message.to_owned(),
    }
}

/// Records all that, waits until it is written, and answers what the server took and the metrics.
async fn say(server: &Server, all: &[(&str, EventReason, &str)]) -> (Vec<Value>, String) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (events, writer) = EventRecorder::new(&server.client(), "pod-0", metrics.clone(), Clock::machine());
    for (name, reason, note) in all {
        events.record(node(name), event(*reason, note));
    }
    drop(events);
    writer.await;
    let taken = server.taken.lock().unwrap().clone();
    (taken, metrics.text().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_event_is_about_the_node_that_it_names() {
    let (taken, _) = say(
        &Server::default(),
        &[("w-01", EventReason::LockAcquired, "slot 1 of 1")],
    )
    .await;
    let event = &taken[0];
    assert_eq!(event["metadata"]["namespace"], "default");
    assert_eq!(
        event["involvedObject"],
        json!({"apiVersion": "v1", "kind": "Node", "name": "w-01", "uid": "uid of w-01"})
    );
    assert_eq!(
        (&event["reason"], &event["message"], &event["type"]),
        (&json!("LockAcquired"), &json!("slot 1 of 1"), &json!("Normal"))
    );
    assert_eq!(
        (&event["reportingComponent"], &event["reportingInstance"]),
        (&json!("lockkeeper"), &json!("pod-0"))
    );
    let second = |time: &Value| time.as_str().unwrap()[..19].to_owned();
    assert_eq!(
        second(&event["lastTimestamp"]),
        second(&event["eventTime"]),
        "what kubectl sorts by"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_event_about_the_same_object_is_written_once() {
    let all = [
        ("w-01", EventReason::Held, "x"),
        ("w-01", EventReason::Held, "x"),
        ("w-01", EventReason::Held, "y"),
        ("w-01", EventReason::Held, "x"),
        ("w-02", EventReason::Held, "x"),
    ];
    let (taken, metrics) = say(&Server::default(), &all).await;
    let said: Vec<_> = taken
        .iter()
        .map(|event| (&event["involvedObject"]["name"], &event["message"]))
        .collect();
    assert_eq!(
        said,
        [
            (&json!("w-01"), &json!("x")),
            (&json!("w-01"), &json!("y")),
            (&json!("w-02"), &json!("x"))
        ]
    );
    assert!(
        metrics.contains(r#"lockkeeper_events_total{result="repeated"} 2"#),
        "{metrics}"
    );
}

/// Node, reason and message of each Event.
fn lines(taken: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (node, reason) = (text(&event["involvedObject"]["name"]), text(&event["reason"]));
        format!("{node} {reason}: {}", text(&event["message"]))
    };
    taken.iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn events_that_follow_each_other_at_once_are_written_as_one() {
    let long = "x".repeat(MAX_NOTE_BYTES);
    let all = [
        ("w-01", EventReason::RebootRequired, "reboot required"),
        ("w-02", EventReason::RebootRequired, "reboot required"),
        ("w-01", EventReason::LockAcquired, "slot acquired"),
        ("w-01", EventReason::Cordoned, "cordoned"),
        ("w-01", EventReason::Deferred, "deferred"),
        ("w-01", EventReason::Uncordoned, &long),
        ("w-01", EventReason::RebootSucceeded, "rebooted"),
    ];
    let (taken, _) = say(&Server::default(), &all).await;
    assert_eq!(
        lines(&taken),
        [
            "w-01 LockAcquired: reboot required; slot acquired",
            "w-01 Cordoned: cordoned",
            "w-01 Deferred: deferred",
            &format!("w-01 Uncordoned: {long}"),
            "w-01 RebootSucceeded: rebooted",
            "w-02 RebootRequired: reboot required",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_no_longer_than_a_second_for_the_one_that_may_follow() {
    let server = Server::default();
    let metrics = Arc::new(Metrics::new().unwrap());
    let (events, writer) = EventRecorder::new(&server.client(), "pod-0", metrics, Clock::machine());
    tokio::spawn(writer);
    events.record(node("w-01"), event(EventReason::Uncordoned, "uncordoned"));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(lines(&server.taken.lock().unwrap()), ["w-01 Uncordoned: uncordoned"]);
    events.record(node("w-01"), event(EventReason::RebootSucceeded, "rebooted"));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        lines(&server.taken.lock().unwrap()),
        ["w-01 Uncordoned: uncordoned", "w-01 RebootSucceeded: rebooted"]
    );
}

#[test]
fn the_same_event_is_written_again_after_ten_minutes() {
    let said = PendingEvent {
        target: node("w-01"),
        event: event(EventReason::Held, "x"),
    };
    let mut deduplicator = EventDeduplicator::default();
    let start = Instant::now();
    assert!(!deduplicator.is_repeated(&said, start));
    assert!(deduplicator.is_repeated(&said, start + REPEAT_INTERVAL / 2));
    assert!(!deduplicator.is_repeated(&said, start + REPEAT_INTERVAL));
}

#[test]
fn the_number_of_remembered_events_is_bounded() {
    let mut deduplicator = EventDeduplicator::default();
    let start = Instant::now();
    for number in 0..2 * MAX_REMEMBERED {
        let note = number.to_string();
        let said = PendingEvent {
            target: node("w-01"),
            event: event(EventReason::Held, &note),
        };
        deduplicator.is_repeated(&said, start);
    }
    assert_eq!(deduplicator.recorded.len(), MAX_REMEMBERED);
}

#[tokio::test(start_paused = true)]
async fn events_sorted_by_name_are_in_the_order_in_which_they_were_recorded() {
    let notes: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let all: Vec<_> = notes
        .iter()
        .map(|note| ("w-01", EventReason::Held, note.as_str()))
        .collect();
    let (mut taken, _) = say(&Server::default(), &all).await;
    taken.sort_by_key(|event| event["metadata"]["name"].as_str().unwrap().to_owned());
    let sorted: Vec<&str> = taken.iter().map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(sorted, notes);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried_under_the_same_name() {
    let (taken, metrics) = say(&Server::answering(&[500, 429]), &[("w-01", EventReason::Held, "x")]).await;
    assert_eq!(taken.len(), 3);
    assert!(
        taken
            .iter()
            .all(|event| event["metadata"]["name"] == taken[0]["metadata"]["name"])
    );
    assert!(
        metrics.contains(r#"lockkeeper_events_total{result="posted"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_is_dropped_and_the_next_one_is_written() {
    let (taken, metrics) = say(
        &Server::answering(&[403]),
        &[("w-01", EventReason::Held, "x"), ("w-02", EventReason::Held, "x")],
    )
    .await;
    assert_eq!(taken.len(), 2);
    assert!(
        metrics.contains(r#"lockkeeper_events_total{result="failed"} 1"#),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"lockkeeper_events_total{result="posted"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_and_counts_events_and_never_blocks() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (events, _writer) = EventRecorder::new(&Server::default().client(), "pod-0", metrics.clone(), Clock::machine());
    for number in 0..QUEUE_CAPACITY + 3 {
        events.record(node("w-01"), event(EventReason::Held, &number.to_string()));
    }
    assert!(
        metrics
            .text()
            .unwrap()
            .contains(r#"lockkeeper_events_total{result="dropped"} 3"#)
    );
}

#[test]
fn a_message_is_cut_between_characters() {
    assert_eq!(truncate("grün", 3), "gr");
    assert_eq!(truncate("grün", 4), "grü");
    assert_eq!(truncate("short", MAX_NOTE_BYTES), "short");
}

#[tokio::test(start_paused = true)]
async fn the_note_of_an_event_is_one_printable_line() {
    let words = "the API server refuses to cordon w-01: \u{1b}[2Jno\r\nway\u{202e}";
    let (taken, _) = say(&Server::default(), &[("w-01", EventReason::Deferred, words)]).await;
    assert_eq!(
        taken[0]["message"],
        "the API server refuses to cordon w-01: �[2Jno  way�"
    );
}
