//! Who asked the API server for what, from its audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Deserialize;

/// One request the API server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The whole User-Agent header.
    pub user_agent: String,
    pub user: String,
    /// The pod that the token is bound to; empty if it is bound to none.
    pub pod: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// Resource with its subresource (`pods/eviction`), or the path of a request for none.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// Whether it only asked what would happen.
    pub dry_run: bool,
    /// The HTTP status of the answer; 0 while a watch has none.
    pub code: u16,
    pub received: DateTime<Utc>,
}

impl Request {
    /// The program's name: the User-Agent up to its version.
    pub fn program(&self) -> &str {
        self.user_agent.split(['/', ' ']).next().unwrap_or_default()
    }

    /// Whether the request may change something.
    pub fn writes(&self) -> bool {
        !self.dry_run && !matches!(self.verb.as_str(), "get" | "list" | "watch" | "head")
    }
}

/// What requests are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub program: String,
    pub verb: String,
    pub resource: String,
}

/// All requests in the order of the log, each once.
pub fn read(log: &Path) -> Result<Vec<Request>> {
    let file = File::open(log).with_context(|| format!("open the audit log {}", log.display()))?;
    let mut seen = BTreeSet::new();
    let mut requests = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("read the audit log {}", log.display()))?;
        // The server may be writing the last line at this moment.
        let Ok(event) = serde_json::from_str::<Event>(&line) else {
            continue;
        };
        // A watch is logged when it starts and when it ends.
        if seen.insert(event.audit_id.clone()) {
            requests.push(event.into());
        }
    }
    Ok(requests)
}

/// How many requests there were of each kind.
pub fn count(requests: &[Request]) -> BTreeMap<Key, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        let (verb, resource) = (request.verb.clone(), request.resource.clone());
        *counts
            .entry(Key {
                program: request.program().to_owned(),
                verb,
                resource,
            })
            .or_default() += 1;
    }
    counts
}

/// How many requests each program made.
pub fn count_by_program(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.program().to_owned()).or_default() += 1;
    }
    counts
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    user_agent: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: DateTime<Utc>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// Where the API server says which pod a token is bound to.
const POD: &str = "authentication.kubernetes.io/pod-name";

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl From<Event> for Request {
    fn from(event: Event) -> Self {
        let (path, query) = event.request_uri.split_once('?').unwrap_or((&event.request_uri, ""));
        let (path, dry_run) = (path.to_owned(), query.contains("dryRun=All"));
        let object = event.object_ref.unwrap_or_default();
        let resource = match (object.resource.as_str(), object.subresource.as_str()) {
            ("", _) => path,
            (resource, "") => resource.to_owned(),
            (resource, subresource) => format!("{resource}/{subresource}"),
        };
        let mut extra = event.user.extra;
        let pod = extra.remove(POD).and_then(|names| names.into_iter().next());
        Self {
            user_agent: event.user_agent,
            user: event.user.username,
            pod: pod.unwrap_or_default(),
            verb: event.verb,
            resource,
            namespace: object.namespace,
            name: object.name,
            dry_run,
            code: event.response_status.map_or(0, |status| status.code),
            received: event.request_received_timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Key, count, count_by_program, read};

    const LOG: &str = r#"
{"auditID":"1","stage":"ResponseStarted","requestURI":"/api/v1/nodes?watch=1","verb":"watch","user":{"username":"op"},"userAgent":"lockkeeper-operator/0.1","objectRef":{"resource":"nodes"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z"}
{"auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/nodes?watch=1","verb":"watch","user":{"username":"op"},"userAgent":"lockkeeper-operator/0.1","objectRef":{"resource":"nodes"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z"}
{"auditID":"2","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods/b/eviction","verb":"create","user":{"username":"op","extra":{"authentication.kubernetes.io/pod-name":["op-1"]}},"userAgent":"lockkeeper-operator/0.1","objectRef":{"resource":"pods","subresource":"eviction","namespace":"a","name":"b"},"responseStatus":{"code":429},"requestReceivedTimestamp":"2026-01-01T00:00:01.000001Z"}
{"auditID":"3","stage":"ResponseComplete","requestURI":"/readyz?verbose","verb":"get","user":{"username":"me"},"userAgent":"curl/8","requestReceivedTimestamp":"2026-01-01T00:00:01.000001Z"}
{"auditID":"4","stage":"Respon"#;

    #[test]
    fn counts_each_request_once_and_survives_a_line_that_is_being_written() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        log.write_all(LOG.trim_start().as_bytes()).unwrap();
        let requests = read(log.path()).unwrap();
        let counts = count(&requests);
        let key = |program: &str, verb: &str, resource: &str| Key {
            program: program.to_owned(),
            verb: verb.to_owned(),
            resource: resource.to_owned(),
        };
        assert_eq!(counts.len(), 3);
        assert_eq!(counts[&key("lockkeeper-operator", "watch", "nodes")], 1);
        assert_eq!(counts[&key("lockkeeper-operator", "create", "pods/eviction")], 1);
        assert_eq!(counts[&key("curl", "get", "/readyz")], 1);
        assert_eq!(count_by_program(&requests)["lockkeeper-operator"], 2);
        assert_eq!(requests[1].code, 429);
        assert_eq!((requests[0].pod.as_str(), requests[1].pod.as_str()), ("", "op-1"));
        assert!(requests[1].writes() && !requests[0].writes());
    }
}
