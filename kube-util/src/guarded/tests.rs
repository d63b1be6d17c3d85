use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::client::Body;
use serde_json::json;

use super::*;

fn object(name: &str, value: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"key": value},
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": "7", "managedFields": [{"manager": "m"}]},
    })
}

/// Three objects; the second cannot be decoded.
fn objects() -> Vec<Value> {
    vec![
        object("a", &json!("x")),
        object("b", &json!(5)),
        object("c", &json!("z")),
    ]
}

/// A client of an API server that has these objects, and whose watch shows these events and then nothing more.
fn client(objects: &[Value], events: &[Value]) -> (Client, Arc<Mutex<Vec<String>>>) {
    let list =
        json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": objects});
    let list = list.to_string();
    let events: Vec<String> = events.iter().map(ToString::to_string).collect();
    let events = events.join("\n");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_watch = query.contains("watch=");
        log.lock()
            .unwrap()
            .push(if is_watch { "watch" } else { "list" }.to_owned());
        let body = if is_watch { events.clone() } else { list.clone() };
        async move { Ok::<_, Infallible>(Response::new(Body::from(body.into_bytes()))) }
    });
    (Client::new(service, "ns"), asked)
}

fn told(event: &Event<Guarded<ConfigMap>>) -> String {
    let of = |object: &Guarded<ConfigMap>| match &object.0 {
        Ok(object) => object.name_any(),
        Err(undecodable) => {
            let name = undecodable.metadata.name.as_deref().unwrap_or_default();
            format!("{name} ({})", undecodable.cause)
        }
    };
    match event {
        Event::Init => "list".to_owned(),
        Event::InitApply(object) => format!("- {}", of(object)),
        Event::InitDone => "listed".to_owned(),
        Event::Apply(object) => format!("applied {}", of(object)),
        Event::Delete(object) => format!("deleted {}", of(object)),
    }
}

async fn watched(client: Client, events: usize) -> Vec<String> {
    let api: GuardedApi<ConfigMap> = GuardedApi::namespaced(client, "ns");
    let stream = api.watch(watcher::Config::default());
    let events: Vec<_> = stream.take(events).collect().await;
    events.iter().map(|event| told(event.as_ref().unwrap())).collect()
}

const BAD: &str = "b (data.key: invalid type: integer `5`, expected a string)";

#[tokio::test]
async fn one_object_of_three_that_cannot_be_decoded_does_not_hide_the_others() {
    let (client, _) = client(&objects(), &[]);
    let bad = format!("- {BAD}");
    // The list that failed has begun already.
    assert_eq!(watched(client, 6).await, ["list", "list", "- a", &bad, "- c", "listed"]);
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_ends_no_watch() {
    let events = [
        json!({"type": "MODIFIED", "object": object("a", &json!("y"))}),
        json!({"type": "MODIFIED", "object": object("b", &json!(5))}),
        json!({"type": "DELETED", "object": object("b", &json!(5))}),
    ];
    let good = [object("a", &json!("x"))];
    let (client, _) = client(&good, &events);
    let (applied, deleted) = (format!("applied {BAD}"), format!("deleted {BAD}"));
    assert_eq!(
        watched(client, 10).await,
        [
            "list",
            "- a",
            "listed",
            "applied a",
            "list",
            "- a",
            "listed",
            "applied a",
            &applied,
            &deleted
        ]
    );
}

#[tokio::test]
async fn objects_that_can_be_decoded_are_listed_once() {
    let good = [object("a", &json!("x"))];
    let (client, asked) = client(&good, &[]);
    let api: GuardedApi<ConfigMap> = GuardedApi::namespaced(client, "ns");
    let listed = api.list(&ListParams::default()).await.unwrap();
    assert!(listed.items[0].0.is_ok());
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_has_the_objects_that_can_be_decoded_and_names_the_other() {
    let (client, _) = client(&objects(), &[]);
    let api: GuardedApi<ConfigMap> = GuardedApi::namespaced(client, "ns");
    let listed = api.list(&ListParams::default()).await.unwrap().items;
    let failed: Vec<&str> = listed
        .iter()
        .filter_map(|object| object.0.as_ref().err()?.metadata.name.as_deref())
        .collect();
    assert_eq!((listed.len(), failed), (3, vec!["b"]));
    assert_eq!(listed[1].meta().managed_fields, None);
}

#[test]
fn a_cause_is_short_and_printable_however_long_the_value_is() {
    let poison = format!("\u{1b}[2J{}", "x".repeat(1_000_000));
    let value = json!({"metadata": {"name": "a", "creationTimestamp": 5}, "immutable": poison});
    let Guarded(decoded) = serde_json::from_value::<Guarded<ConfigMap>>(value).unwrap();
    let undecodable = decoded.unwrap_err();
    assert!(undecodable.cause.chars().count() <= MAX_CAUSE && !undecodable.cause.contains('\u{1b}'));
    assert_eq!(
        undecodable.metadata.name.as_deref(),
        Some("a"),
        "although its metadata cannot be decoded either"
    );
}
