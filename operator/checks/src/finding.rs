//! What fails a check, and the id by which it is known again.

use lockkeeper_kube_util::{bounded, stable_hash};
use lockkeeper_planner::Finding;

/// How long the text of a finding may be.
const TEXT: usize = 200;

/// So many findings of one check are kept; a query may return thousands.
pub(crate) const MAX_FINDINGS: usize = 256;

/// A finding of a check. `identity` is what makes it the same one in each round.
pub(crate) fn finding(check: &str, identity: &str, text: &str) -> Finding {
    Finding {
        id: id(check, identity),
        text: bounded(text, TEXT),
    }
}

/// Sixteen hex digits of the check's name and the identity: it must be the same with each operator and version.
fn id(check: &str, identity: &str) -> String {
    format!("{:016x}", stable_hash(check.bytes().chain([0]).chain(identity.bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_the_same_id_in_each_version() {
        assert_eq!(finding("alerts", "Down", "x").id, "72940d1dd064a912");
        assert_ne!(finding("alerts", "Down", "x").id, finding("alert", "sDown", "x").id);
    }
}
