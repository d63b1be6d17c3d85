//! Which action the next step requires: none, time, or that of a person.

use lockkeeper_crds::reasons::{Installation, ReasonName};
use serde::{Serialize, Serializer};

/// Which action the next step requires; the colour of a line follows from this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum ActionRequired {
    /// None: the node is up to date, or work is in progress.
    None,
    /// Time ends the wait.
    Wait,
    /// A person must act.
    Manual,
    /// A person must repair something that is broken.
    Repair,
}

/// A wait reason, parsed once where the status is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Known(ReasonName),
    /// The name of a reason that only a newer version knows.
    Newer(String),
}

impl Reason {
    pub(crate) fn parse(name: &str) -> Self {
        ReasonName::parse(name).map_or_else(|| Self::Newer(name.to_owned()), Self::Known)
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Known(reason) => reason.as_str(),
            Self::Newer(name) => name,
        }
    }

    pub(crate) fn is(&self, reason: ReasonName) -> bool {
        *self == Self::Known(reason)
    }

    /// What a person can do about it, if anything.
    pub(crate) fn advice(&self, node: &str, policy: &str, installation: &Installation) -> Option<String> {
        match self {
            Self::Known(reason) => reason.advice(node, policy, installation),
            Self::Newer(_) => None,
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<&Reason> for ActionRequired {
    /// A reason of a newer version counts as one that ends by itself.
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::Known(ReasonName::Failed | ReasonName::BreakerOpen) => Self::Repair,
            Reason::Known(reason) if reason.actor().needs_person() => Self::Manual,
            Reason::Known(_) | Reason::Newer(_) => Self::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_breaker_and_a_failed_node_require_a_repair() {
        let repairs = ReasonName::ALL
            .into_iter()
            .filter(|reason| ActionRequired::from(&Reason::Known(*reason)) == ActionRequired::Repair);
        let repairs: Vec<&str> = repairs.map(ReasonName::as_str).collect();
        assert_eq!(repairs, ["BreakerOpen", "Failed"]);
    }

    #[test]
    fn a_reason_of_a_newer_version_counts_as_waiting() {
        let reason = Reason::parse("FromANewerVersion");
        assert_eq!(ActionRequired::from(&reason), ActionRequired::Wait);
        assert_eq!(
            reason.advice("w-01", "workers", &Installation::in_namespace("ops")),
            None
        );
        assert_eq!(serde_json::to_value(&reason).unwrap(), "FromANewerVersion");
    }

    #[test]
    fn a_reason_that_requires_an_action_has_advice() {
        for reason in ReasonName::ALL {
            let reason = Reason::Known(reason);
            if ActionRequired::from(&reason) >= ActionRequired::Manual {
                let advice = reason.advice("w-01", "workers", &Installation::in_namespace("ops"));
                assert!(advice.is_some(), "{reason:?}");
            }
        }
    }
}
