//! What arrives in an unlucky order, fed to the state by hand.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{budget, node, pod, settings, view, with};
use crate::answer::EvictionAnswer;
use crate::budget::{BudgetView, SlimBudget};
use crate::evict::RemovalRequest;
use crate::node::SlimNode;
use crate::pod::Uid;
use crate::state::State;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn budget_view(version: &str, allowed: i32, disrupted: &[&str]) -> BudgetView {
    let disrupted: serde_json::Map<_, _> = disrupted
        .iter()
        .map(|name| ((*name).to_owned(), json!("2026-11-21T12:00:00Z")))
        .collect();
    let change = json!({"metadata": {"resourceVersion": version}, "status": {"disruptedPods": disrupted}});
    let object = with(budget("shop/web", allowed, 20, 10, 20), &change);
    serde_json::from_value::<SlimBudget>(object).unwrap().into()
}

/// The node has been seen, and nothing else.
fn new_state() -> State {
    let mut state = State::new(settings());
    state.node = Some(serde_json::from_value::<SlimNode>(node()).unwrap().into());
    state
}

fn state(pods: usize, allowed: i32) -> State {
    let mut state = new_state();
    state.pods_listed(
        at(0),
        (0..pods)
            .map(|number| view(pod(&format!("shop/web-{number:02}"))))
            .collect(),
    );
    state.budgets_listed("shop", vec![budget_view("1", allowed, &[])]);
    state
}

fn names(asks: &[RemovalRequest]) -> Vec<&str> {
    asks.iter().map(|ask| ask.pod.name.as_str()).collect()
}

fn refusal() -> EvictionAnswer {
    EvictionAnswer::Budget {
        name: Some("web".to_owned()),
        message: "not now".to_owned(),
        retry_after: None,
    }
}

fn uid(name: &str) -> Uid {
    Uid(format!("uid-{name}"))
}

#[test]
fn no_pod_is_evicted_before_its_budgets_are_listed() {
    let mut state = new_state();
    state.pods_listed(at(0), vec![view(pod("shop/web-00"))]);
    assert!(state.pick(at(0)).is_empty());
    state.budgets_listed("shop", Vec::new());
    assert_eq!(state.pick(at(0)).len(), 1);
}

#[test]
fn budgets_that_cannot_be_listed_do_not_stop_evictions() {
    let mut state = new_state();
    state.pods_listed(at(0), vec![view(pod("shop/web-00"))]);
    state.budgets_unavailable("shop");
    assert_eq!(state.pick(at(0)).len(), 1);
}

#[test]
fn at_most_eight_requests_per_budget_and_sixteen_in_total() {
    assert_eq!(state(20, 20).pick(at(0)).len(), 8);
    let mut without_budget = new_state();
    without_budget.pods_listed(
        at(0),
        (0..40)
            .map(|number| view(pod(&format!("shop/web-{number:02}"))))
            .collect(),
    );
    without_budget.budgets_listed("shop", Vec::new());
    assert_eq!(without_budget.pick(at(0)).len(), 16);
}

#[test]
fn a_grant_counts_until_the_budget_or_the_pod_shows_it() {
    let mut state = state(3, 1);
    assert_eq!(names(&state.pick(at(0))), ["web-00"]);
    state.record_answer(at(0), &uid("web-00"), EvictionAnswer::Granted);
    assert!(
        state.pick(at(0)).is_empty(),
        "the view of the budget is older than the grant"
    );
    state.budget_applied(budget_view("2", 0, &["web-00"]));
    assert!(state.pick(at(0)).is_empty());
    state.budget_applied(budget_view("3", 1, &["web-00"]));
    assert_eq!(names(&state.pick(at(0))), ["web-01"]);
}

#[test]
fn a_grant_that_the_budget_shows_before_the_answer_is_counted_once() {
    let mut state = state(3, 2);
    assert_eq!(names(&state.pick(at(0))), ["web-00", "web-01"]);
    state.budget_applied(budget_view("2", 1, &["web-00"]));
    assert!(
        state.pick(at(0)).is_empty(),
        "web-01 is under way against the one that is left"
    );
    state.budget_applied(budget_view("3", 1, &["web-00", "web-01"]));
    assert_eq!(names(&state.pick(at(0))), ["web-02"]);
}

#[test]
fn a_budget_change_during_a_refusal_is_not_missed() {
    let mut state = state(1, 0);
    assert_eq!(state.pick(at(0)).len(), 1, "one question, whatever the numbers say");
    state.budget_applied(budget_view("2", 1, &[]));
    state.record_answer(at(0), &uid("web-00"), refusal());
    assert_eq!(state.pick(at(0)).len(), 1);
}

#[test]
fn a_refusal_despite_the_numbers_is_not_retried_before_they_change() {
    let mut state = state(5, 3);
    let asked = state.pick(at(0));
    assert_eq!(asked.len(), 3);
    for ask in &asked {
        state.record_answer(at(0), &ask.uid, refusal());
    }
    assert!(state.pick(at(14)).is_empty());
    state.budget_applied(budget_view("2", 3, &[]));
    assert_eq!(state.pick(at(14)).len(), 3);
}

#[test]
fn an_exhausted_budget_gets_one_probe_at_a_time() {
    let mut state = state(5, 0);
    assert_eq!(state.pick(at(0)).len(), 1);
    assert!(state.pick(at(0)).is_empty());
    state.record_answer(at(0), &uid("web-00"), refusal());
    assert!(state.pick(at(14)).is_empty());
    assert_eq!(state.pick(at(30)).len(), 1);
    assert!(state.pick(at(30)).is_empty());
}

#[test]
fn an_answer_about_a_gone_pod_changes_nothing() {
    let mut state = state(1, 1);
    state.pick(at(0));
    state.pod_deleted(&uid("web-00"));
    let answer = EvictionAnswer::Unavailable {
        message: "reset".to_owned(),
        retry_after: Some(Duration::from_secs(1)),
    };
    state.record_answer(at(0), &uid("web-00"), answer);
    assert_eq!(state.pods.map(|pods| pods.len()), Some(0));
    assert!(state.requests.is_empty());
}

#[test]
fn a_grant_without_a_shutdown_is_requested_again_after_30_s() {
    let mut state = new_state();
    state.pods_listed(at(0), vec![view(pod("shop/web-00"))]);
    state.budgets_listed("shop", Vec::new());
    state.pick(at(0));
    state.record_answer(at(0), &uid("web-00"), EvictionAnswer::Granted);
    assert!(state.pick(at(29)).is_empty());
    assert_eq!(state.pick(at(30)).len(), 1);
}
