//! Values of options and how they are parsed.

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use lockkeeper_crds::Override;

/// The format of the output.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    Json,
}

/// What an urgent override may override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum OverrideName {
    IgnoreWindows,
    IgnoreChecks,
    DeletePods,
}

impl OverrideName {
    pub(crate) fn to_api(self) -> Override {
        match self {
            Self::IgnoreWindows => Override::IgnoreWindows,
            Self::IgnoreChecks => Override::IgnoreChecks,
            Self::DeletePods => Override::DeletePods,
        }
    }
}

/// Accepts `node/NAME` too, as `kubectl get -o name` prints it.
pub(super) fn node_name(text: &str) -> Result<String, String> {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    if name.is_empty() {
        return Err("the node's name is missing".to_owned());
    }
    Ok(name.to_owned())
}

pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc())
        .map_err(|_| "not an RFC 3339 time such as 2026-11-24T22:00:00Z or 2026-11-24T22:00:00+01:00".to_owned())
}

pub(super) fn deployment(text: &str) -> Result<(String, String), String> {
    let both = text
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = both.ok_or("expected NAMESPACE/DEPLOYMENT")?;
    Ok((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_be_written_as_kubectl_prints_it() {
        assert_eq!(node_name("node/w-01").unwrap(), "w-01");
        assert_eq!(node_name("w-01").unwrap(), "w-01");
        assert!(node_name("node/").is_err());
    }
}
