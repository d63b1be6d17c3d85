//! Our own taints among those of a Node.

use lockkeeper_crds::names;
use lockkeeper_planner::{Taint, Taints};
use serde_json::Map;

use crate::slim;

/// Which of our taints a Node has.
pub fn on(node: &slim::Node) -> Taints {
    let has = |taint| node.spec.taints.iter().any(|other| is(other, taint));
    Taints {
        rebooting: has(Taint::Rebooting),
        reboot_pending: has(Taint::RebootPending),
    }
}

/// A Node's taints with this one of ours, or without it; all others stay as they are.
pub fn with(taints: &[slim::Taint], taint: Taint, there: bool) -> Vec<slim::Taint> {
    let mut all: Vec<slim::Taint> = taints.iter().filter(|other| !is(other, taint)).cloned().collect();
    if there {
        let (key, effect) = wire(taint);
        all.push(slim::Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            rest: Map::new(),
        });
    }
    all
}

fn is(taint: &slim::Taint, ours: Taint) -> bool {
    (taint.key.as_str(), taint.effect.as_str()) == wire(ours)
}

fn wire(taint: Taint) -> (&'static str, &'static str) {
    match taint {
        Taint::Rebooting => (names::TAINT_REBOOTING, "NoSchedule"),
        Taint::RebootPending => (names::TAINT_REBOOT_PENDING, "PreferNoSchedule"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn taints(of: &serde_json::Value) -> Vec<slim::Taint> {
        serde_json::from_value(of.clone()).unwrap()
    }

    #[test]
    fn taints_of_others_keep_all_they_have_and_ours_is_there_once() {
        let others = json!([
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-11-21T10:00:00Z"},
            {"key": "gpu", "effect": "NoSchedule", "value": "only", "novel": true},
        ]);
        let mut expected = others.as_array().unwrap().clone();
        expected.push(json!({"key": "lockkeeper.dev/rebooting", "effect": "NoSchedule"}));
        let once = with(&taints(&others), Taint::Rebooting, true);
        assert_eq!(serde_json::to_value(&once).unwrap(), json!(expected));
        assert_eq!(with(&once, Taint::Rebooting, true), once);
        assert_eq!(
            serde_json::to_value(with(&once, Taint::Rebooting, false)).unwrap(),
            others
        );
    }

    #[test]
    fn a_taint_of_our_name_with_another_effect_is_not_ours() {
        let node: slim::Node = serde_json::from_value(json!({"metadata": {"name": "w-01"}, "spec": {"taints": [
            {"key": "lockkeeper.dev/rebooting", "effect": "NoExecute"},
            {"key": "lockkeeper.dev/reboot-pending", "effect": "PreferNoSchedule"},
        ]}}))
        .unwrap();
        let expected = Taints {
            rebooting: false,
            reboot_pending: true,
        };
        assert_eq!(on(&node), expected);
    }
}
