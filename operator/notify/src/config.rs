//! The configuration: which receivers there are, and what each of them gets.
//!
//! The file holds secrets, so no error shows a value of it, only the field and what is expected there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use lockkeeper_outbound::{Secret, Target, TargetFields, Url, decode, decode_value, read_text};
use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::event::{Event, Severity};
use crate::format::{Format, bodies};
use crate::template::Template;

/// The most receivers.
const MAX_RECEIVERS: usize = 20;
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
    secrets: Vec<Secret>,
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
        match read_text(path) {
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

fn receiver(value: Value, directory: &Path, known: &KnownEvents, cluster: &str) -> Result<Receiver, String> {
    let raw: RawReceiver = decode_value(value)?;
    if !is_name(&raw.name) {
        return Err("name must have 1 to 63 characters: a-z, 0-9 and -".to_owned());
    }
    let format = Format::ALL
        .iter()
        .find(|(name, _)| *name == raw.format)
        .map(|(_, format)| *format);
    let format = format.ok_or("format must be Slack, JSON, CloudEvents or CloudEventsBatch")?;
    let fields = TargetFields {
        url: raw.url.clone(),
        url_file: raw.url_file.clone(),
        ca_bundle: raw.ca_bundle.clone(),
        bearer_token: raw.bearer_token.clone(),
        bearer_token_file: raw.bearer_token_file.clone(),
    };
    let (target, secrets) = fields.target(Url::secret, directory)?;
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
        source: Source { raw, secrets },
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
