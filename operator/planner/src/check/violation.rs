//! A rule that a plan would break.

/// A rule that a plan would break; the operator carries out nothing of such a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name, as ARCHITECTURE.md lists it: `S1` to `S9`, `L1` to `L4`.
    pub rule: &'static str,
    /// What would break it.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

pub(super) fn violation(rule: &'static str, what: String) -> Violation {
    Violation { rule, what }
}
