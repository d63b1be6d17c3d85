//! The configuration: which receivers there are, and what each of them gets.
//!
//! The file holds secrets, so no error shows a value of it, only the field and what is expected there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper_outbound::{Credential, InvalidUrl, Secret, Target, Url};
use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::event::{Event, Severity};
use crate::format::{Format, bodies};
use crate::template::Template;

/// The most receivers.
const MAX_RECEIVERS: usize = 20;
/// The largest file.
const MAX_BYTES: u64 = 256 * 1024;
/// The pause between two messages to one receiver, in seconds.
const PAUSE: std::ops::RangeInclusive<u32> = 1..=3600;
const DEFAULT_PAUSE: u32 = 10;

/// The names that `events` may have.
#[derive(Clone, Debug)]
pub struct KnownEvents {
    /// All of them.
    pub all: Vec<&'static str>,
    /// Those that a receiver gets which names none.
    pub default: Vec<&'static str>,
}

/// What the file says, as far as it is valid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The name of this cluster in messages.
    pub cluster: String,
    /// The receivers; those with an error are left out.
    pub receivers: Vec<Receiver>,
    /// What is wrong: one sentence each, with the field and the remedy.
    pub errors: Vec<String>,
}

/// One receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub(crate) name: String,
    pub(crate) format: Format,
    pub(crate) target: Target,
    pub(crate) template: Option<Template>,
    pub(crate) pause: Duration,
    events: BTreeSet<&'static str>,
    policies: BTreeSet<String>,
    /// All that it was made of, to notice a change.
    source: Source,
}

impl PartialEq for Receiver {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Source {
    raw: RawReceiver,
    url: Secret,
    token: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    receivers: Vec<Value>,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawReceiver {
    name: String,
    format: String,
    url: Option<String>,
    url_file: Option<String>,
    ca_bundle: Option<String>,
    bearer_token: Option<String>,
    bearer_token_file: Option<String>,
    events: Option<Vec<String>>,
    policies: Option<Vec<String>>,
    template: Option<String>,
    min_seconds_between: Option<u32>,
}

impl std::fmt::Debug for RawReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It has the URL and the token.
        f.write_str("RawReceiver")
    }
}

impl Receiver {
    /// Whether it gets this Event.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        let policy = |name: &String| self.policies.is_empty() || self.policies.contains(name);
        self.events.contains(event.reason) && event.policy.as_ref().is_none_or(policy)
    }
}

impl Config {
    /// Reads and parses the file; what cannot be used is an error in the result, and the rest of the file counts.
    pub fn read(path: &Path, known: &KnownEvents) -> Self {
        match read(path) {
            Ok(text) => Self::parse(&text, path.parent().unwrap_or(Path::new(".")), known),
            Err(error) => Self::failed(format!(
                "{} cannot be read: {error}; check the mounted Secret",
                path.display()
            )),
        }
    }

    fn parse(text: &str, directory: &Path, known: &KnownEvents) -> Self {
        let raw: RawConfig = match decode(text) {
            Ok(raw) => raw,
            Err(error) => return Self::failed(error),
        };
        let mut config = Self::default();
        if raw.cluster.len() <= 63 && raw.cluster.bytes().all(is_in_cluster_name) {
            config.cluster = raw.cluster;
        } else {
            config
                .errors
                .push("cluster must have at most 63 characters: A-Z, a-z, 0-9, '.', '_' and '-'".to_owned());
        }
        if raw.receivers.len() > MAX_RECEIVERS {
            let count = raw.receivers.len();
            config.errors.push(format!(
                "receivers has {count} entries; only the first {MAX_RECEIVERS} are used"
            ));
        }
        let mut names = BTreeSet::new();
        for (index, value) in raw.receivers.into_iter().take(MAX_RECEIVERS).enumerate() {
            match receiver(value, directory, known, &config.cluster) {
                Ok(receiver) if names.insert(receiver.name.clone()) => config.receivers.push(receiver),
                Ok(receiver) => {
                    let name = receiver.name;
                    config.errors.push(format!(
                        "receivers[{index}].name {name} is used twice; give each its own"
                    ));
                }
                Err(error) => config.errors.push(format!("receivers[{index}].{error}")),
            }
        }
        config
    }

    fn failed(error: String) -> Self {
        Self {
            errors: vec![error],
            ..Self::default()
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = fs::File::open(path).map_err(|error| error.to_string())?;
    let read = opened.take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

fn decode<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    if text.trim().is_empty() {
        return Err("the file is empty; give it a list `receivers`".to_owned());
    }
    let value: Value = serde_yaml_ng::from_str(text).map_err(|error| {
        let place = error
            .location()
            .map(|at| format!(" near line {}, column {}", at.line(), at.column()));
        format!("the file is not valid YAML{}", place.unwrap_or_default())
    })?;
    from_value(value)
}

/// Decodes a part of the file; the error names the field and what is expected, never what is there.
fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let text = error.inner().to_string();
        let path = match error.path().to_string().as_str() {
            "." => String::new(),
            path => format!("{path} "),
        };
        match (text.split_once("expected "), text.starts_with("missing field")) {
            // These names are ours.
            (_, true) => text.clone(),
            (Some((_, expected)), false) => format!("{path}is not what is expected there: {expected}"),
            (None, false) => format!("{path}cannot be decoded; see docs/notifications.md"),
        }
    })
}

fn receiver(value: Value, directory: &Path, known: &KnownEvents, cluster: &str) -> Result<Receiver, String> {
    let raw: RawReceiver = from_value(value)?;
    if !is_name(&raw.name) {
        return Err("name must have 1 to 63 characters: a-z, 0-9 and -".to_owned());
    }
    let format = Format::ALL
        .iter()
        .find(|(name, _)| *name == raw.format)
        .map(|(_, format)| *format);
    let format = format.ok_or("format must be Slack, JSON, CloudEvents or CloudEventsBatch")?;
    let url = secret(raw.url.as_deref(), raw.url_file.as_deref(), "url", directory)?;
    let url = url.ok_or("url is missing; give url or urlFile")?;
    let token = secret(
        raw.bearer_token.as_deref(),
        raw.bearer_token_file.as_deref(),
        "bearerToken",
        directory,
    )?;
    let parsed = Url::secret(url.expose());
    let mut target = Target::new(parsed.map_err(|error: InvalidUrl| format!("url {error}"))?);
    if let Some(bundle) = &raw.ca_bundle {
        target = target
            .with_ca_bundle(bundle)
            .map_err(|error| format!("caBundle {error}"))?;
    }
    if let Some(token) = &token {
        target = target.with_credential(Credential::Bearer(token.clone()));
    }
    let pause = raw.min_seconds_between.unwrap_or(DEFAULT_PAUSE);
    if !PAUSE.contains(&pause) {
        return Err(format!(
            "minSecondsBetween must be from {} to {}",
            PAUSE.start(),
            PAUSE.end()
        ));
    }
    let template = raw
        .template
        .as_deref()
        .map(|source| template(source, format))
        .transpose()?;
    let sample = [sample()];
    bodies(format, template.as_ref(), cluster, &sample).map_err(|error| format!("template {error}"))?;
    Ok(Receiver {
        name: raw.name.clone(),
        format,
        target,
        template,
        pause: Duration::from_secs(pause.into()),
        events: events(raw.events.as_deref(), known)?,
        policies: raw.policies.iter().flatten().cloned().collect(),
        source: Source { raw, url, token },
    })
}

/// These need no encoding in the source of CloudEvents.
fn is_in_cluster_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// The value of a field, or of the file that the field beside it names.
fn secret(value: Option<&str>, file: Option<&str>, field: &str, directory: &Path) -> Result<Option<Secret>, String> {
    let secret = match (value, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(format!("{field} and {field}File are both set; give one of them")),
        (Some(value), None) => Secret::new(value),
        (None, Some(file)) => {
            // An absolute path replaces the directory.
            let path: PathBuf = directory.join(file);
            let text = read(&path).map_err(|error| format!("{field}File cannot be read: {error}"))?;
            Secret::new(&text)
        }
    };
    if secret.is_empty() {
        return Err(format!("{field} is empty"));
    }
    Ok(Some(secret))
}

fn template(source: &str, format: Format) -> Result<Template, String> {
    let is_json = match format {
        Format::Slack => false,
        Format::Json => true,
        Format::CloudEvents | Format::CloudEventsBatch => {
            return Err("template is only for the formats Slack and JSON; CloudEvents have fixed fields".to_owned());
        }
    };
    Template::parse(source, is_json).map_err(|error| format!("template {error}"))
}

fn events(names: Option<&[String]>, known: &KnownEvents) -> Result<BTreeSet<&'static str>, String> {
    let Some(names) = names else {
        return Ok(known.default.iter().copied().collect());
    };
    let find = |(index, name): (usize, &String)| {
        let found = known.all.iter().copied().find(|known| known == name);
        found.ok_or_else(|| format!("events[{index}] is not the reason of an Event; docs/notifications.md lists them"))
    };
    names.iter().enumerate().map(find).collect()
}

/// With this a template is tried when it is read.
fn sample() -> Event {
    Event {
        time: chrono::DateTime::UNIX_EPOCH,
        severity: Severity::Warning,
        reason: "Failed",
        message: "w-01 rebooted but was not healthy within 15 min".to_owned(),
        policy: Some("workers".to_owned()),
        node: Some("w-01".to_owned()),
        operation: Some("7f3c".to_owned()),
    }
}
