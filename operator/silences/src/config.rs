//! The configuration: where Alertmanager is, and what its silences match.

use std::path::Path;

use chrono::TimeDelta;
use lockkeeper_outbound::{Target, TargetFields, Url, decode, read_text};
use serde::Deserialize;

/// What stands for the name of the node in a matcher.
pub(crate) const NODE: &str = "{node}";
/// The most matchers.
const MAX_MATCHERS: usize = 10;

/// Where Alertmanager is, and what its silences match.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) target: Target,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) duration: TimeDelta,
    pub(crate) linger: TimeDelta,
}

/// What a label of an alert must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matcher {
    /// The name of the label.
    pub name: String,
    /// Its value; `{node}` stands for the name of the node.
    pub value: String,
    /// Whether the value is a regular expression, which must match the whole label.
    #[serde(default)]
    pub is_regex: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawConfig {
    url: Option<String>,
    url_file: Option<String>,
    ca_bundle: Option<String>,
    bearer_token: Option<String>,
    bearer_token_file: Option<String>,
    matchers: Option<Vec<Matcher>>,
    duration_seconds: Option<u32>,
    linger_seconds: Option<u32>,
}

impl Config {
    /// Reads and parses the file; the error names the field and the remedy, and shows no value.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = read_text(path)
            .map_err(|error| format!("{} cannot be read: {error}; check the mounted Secret", path.display()))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let raw: RawConfig = decode(text)?;
        let fields = TargetFields {
            url: raw.url,
            url_file: raw.url_file,
            ca_bundle: raw.ca_bundle,
            bearer_token: raw.bearer_token,
            bearer_token_file: raw.bearer_token_file,
        };
        let matchers = raw.matchers.unwrap_or_else(|| {
            vec![Matcher {
                name: "node".to_owned(),
                value: NODE.to_owned(),
                is_regex: false,
            }]
        });
        if matchers.len() > MAX_MATCHERS {
            return Err(format!("matchers has more than {MAX_MATCHERS} entries"));
        }
        if let Some(index) = matchers.iter().position(|matcher| !is_label(&matcher.name)) {
            return Err(format!(
                "matchers[{index}].name must be the name of a label, such as instance"
            ));
        }
        if !matchers.iter().any(|matcher| matcher.value.contains(NODE)) {
            return Err(format!(
                "matchers must contain {NODE} in one value, or the alerts of all nodes would be silenced"
            ));
        }
        let seconds = |field: &str, value: Option<u32>, default: u32, range: std::ops::RangeInclusive<u32>| {
            let value = value.unwrap_or(default);
            if range.contains(&value) {
                Ok(TimeDelta::seconds(value.into()))
            } else {
                Err(format!("{field} must be from {} to {}", range.start(), range.end()))
            }
        };
        Ok(Self {
            target: fields.target(Url::parse, directory)?.0,
            matchers,
            duration: seconds("durationSeconds", raw.duration_seconds, 900, 60..=86_400)?,
            linger: seconds("lingerSeconds", raw.linger_seconds, 120, 0..=3600)?,
        })
    }
}

fn is_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= 100 && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
