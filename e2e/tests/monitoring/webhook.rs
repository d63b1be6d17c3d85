//! Receives the alerts that Alertmanager sends to the person on call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// One alert as Alertmanager told of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Whether it fires; else it is resolved.
    pub(crate) firing: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Told {
    /// Whether it is of this name and has these labels.
    pub(crate) fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |label: &str, value: &str| self.labels.get(label).is_some_and(|found| found == value);
        has("alertname", name) && labels.iter().all(|(label, value)| has(label, value))
    }
}

/// What was told, in order.
#[derive(Clone, Default)]
pub(crate) struct Webhook {
    told: Arc<Mutex<Vec<Told>>>,
    /// How many are of the past: no answer to what is waited for now.
    past: Arc<AtomicUsize>,
}

impl Webhook {
    /// Listens, and says where.
    pub(crate) async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let webhook = Self::default();
        let told = webhook.told.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let alerts = receive(stream).await;
                    told.lock().unwrap().extend(alerts);
                });
            }
        });
        (webhook, address)
    }

    /// What was told until now counts no more.
    pub(crate) fn forget(&self) {
        self.past.store(self.all().len(), Ordering::Relaxed);
    }

    pub(crate) fn all(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until this alert was told of as firing, at any time, or until the last word on it is that it is resolved.
    pub(crate) async fn wait(&self, name: &str, labels: &[(&str, &str)], firing: bool, limit: Duration) -> Told {
        let end = Instant::now() + limit;
        loop {
            let all = self.all().split_off(self.past.load(Ordering::Relaxed));
            let mut latest_first = all.iter().rev().filter(|told| told.is(name, labels));
            let wanted = if firing {
                latest_first.find(|told| told.firing)
            } else {
                latest_first.next().filter(|told| !told.firing)
            };
            if let Some(told) = wanted {
                return told.clone();
            }
            let others: Vec<_> = all.iter().map(|told| (told.firing, &told.labels)).collect();
            let word = if firing { "fires" } else { "is resolved" };
            assert!(
                Instant::now() < end,
                "{name} {labels:?} never {word}; told: {others:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Reads one request and answers it.
async fn receive(mut stream: TcpStream) -> Vec<Told> {
    let mut text = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        text.extend_from_slice(&chunk[..read]);
        let whole = String::from_utf8_lossy(&text);
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                return read_alerts(body);
            }
        }
        if read == 0 {
            return Vec::new();
        }
    }
}

fn read_alerts(body: &str) -> Vec<Told> {
    let message: Value = serde_json::from_str(body).unwrap();
    let texts = |value: &Value| {
        let pairs = value.as_object().into_iter().flatten();
        pairs
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let alerts = message["alerts"].as_array().into_iter().flatten();
    alerts
        .map(|alert| Told {
            firing: alert["status"] == "firing",
            labels: texts(&alert["labels"]),
            annotations: texts(&alert["annotations"]),
        })
        .collect()
}
