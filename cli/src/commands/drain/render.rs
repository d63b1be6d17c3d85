//! What a drain would do, as a table.

use lockkeeper_drain::{BudgetNumbers, PodPreflight, Preflight};

use super::decision::{counts, decision_text, leaves};
use super::messages::move_summary;
use crate::clock::DisplayClock;
use crate::render::Line;
use crate::view::ActionRequired;

/// The answer for one node, then the decision for each pod.
pub(crate) fn table(node: &str, source: &str, found: &Preflight, clock: &DisplayClock) -> Vec<Line> {
    let mut lines = Vec::new();
    if found.blockers.is_empty() {
        let summary = move_summary(counts(found));
        lines.push(Line::plain(format!("{node} can be drained, under {source}: {summary}")));
        let doubts = found.doubts().into_iter().map(|cause| format!("  {cause}"));
        lines.extend(doubts.map(|doubt| Line::new(doubt, ActionRequired::Wait)));
    } else {
        lines.push(Line::new(
            format!("{node} cannot be drained, under {source}:"),
            ActionRequired::Manual,
        ));
        let causes = found.blockers.iter().map(|cause| clock.localize(&cause.to_string()));
        lines.extend(causes.map(|cause| Line::new(format!("  {cause}"), ActionRequired::Manual)));
    }
    let head = ["POD", "DECISION", "ORDER", "BUDGET"].map(str::to_owned);
    let rows: Vec<[String; 4]> = found.pods.iter().map(row).collect();
    let widths: [usize; 3] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let text = |row: &[String; 4]| {
        let [pod, decision, order, budget] = row;
        let [a, b, c] = widths;
        format!("  {pod:a$}  {decision:b$}  {order:c$}  {budget}")
            .trim_end()
            .to_owned()
    };
    if !rows.is_empty() {
        lines.push(Line::plain(text(&head)));
    }
    for (row, line) in rows.iter().zip(&found.pods) {
        let action_required = if line.blockers.is_empty() {
            ActionRequired::None
        } else {
            ActionRequired::Manual
        };
        lines.push(Line::new(text(row), action_required));
    }
    lines
}

fn row(line: &PodPreflight) -> [String; 4] {
    let budget = line.budget.as_ref().map(|(name, numbers)| {
        let BudgetNumbers {
            allowed,
            healthy,
            desired,
            total,
        } = numbers;
        format!("{name} allows {allowed} ({healthy} of {total} ready, {desired} needed)")
    });
    [
        line.pod.to_string(),
        match &line.may_return {
            Some(_) => format!("{}, may return", decision_text(&line.decision)),
            None => decision_text(&line.decision),
        },
        order(line),
        budget.unwrap_or_default(),
    ]
}

fn order(line: &PodPreflight) -> String {
    if leaves(&line.decision) {
        line.tier.to_string().trim_start_matches("order ").to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{Blocker, Decision, EvictionBar, PodName, StayReason, Tier, group_by_cause};

    use super::*;
    use crate::fixture::clock;

    fn pod(name: &str, decision: Decision) -> PodPreflight {
        PodPreflight {
            pod: PodName::new("shop", name),
            decision,
            tier: Tier::default(),
            budget: None,
            blockers: Vec::new(),
            doubt: None,
            grace: 30,
            may_return: None,
        }
    }

    fn text(found: &Preflight) -> String {
        let lines = table("w-02", "policy workers", found, &clock("2026-11-24T22:00:00Z"));
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn a_dry_run_shows_the_decision_for_each_pod() {
        let numbers = BudgetNumbers {
            allowed: 1,
            healthy: 3,
            desired: 2,
            total: 3,
        };
        let mut db = pod("db-0", Decision::Evict);
        db.budget = Some((PodName::new("shop", "db"), numbers));
        db.tier.critical = true;
        let found = Preflight {
            pods: vec![
                pod("web-0", Decision::Evict),
                db,
                pod("agent", Decision::Skip(StayReason::DaemonSet)),
            ],
            blockers: vec![],
        };
        expect_test::expect![[r#"
            w-02 can be drained, under policy workers: 2 pods to evict, 1 stays
              POD         DECISION                       ORDER        BUDGET
              shop/web-0  evict                          0
              shop/db-0   evict                          0, critical  shop/db allows 1 (3 of 3 ready, 2 needed)
              shop/agent  stays: belongs to a DaemonSet
        "#]]
        .assert_eq(&text(&found));
    }

    #[test]
    fn the_blockers_come_before_the_table() {
        let mut pet = pod("pet", Decision::Block(vec![EvictionBar::Unmanaged]));
        pet.blockers = vec![Blocker::Unmanaged { pod: pet.pod.clone() }];
        let blockers = group_by_cause(pet.blockers.clone());
        let found = Preflight {
            pods: vec![pet, pod("old", Decision::Skip(StayReason::Finished))],
            blockers,
        };
        assert_eq!(counts(&found), (1, 0));
        expect_test::expect![[r#"
            w-02 cannot be drained, under policy workers:
              pod shop/pet: no controller would recreate it (the policy's drain.unmanagedPods is Block)
              POD       DECISION         ORDER  BUDGET
              shop/pet  blocks           0
              shop/old  stays: finished
        "#]]
        .assert_eq(&text(&found));
    }
}
