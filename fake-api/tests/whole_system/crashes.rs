//! Crashes after every write in turn: whoever crashes, and wherever, the story ends as it does without a crash.

use std::time::Duration;

use super::calm::{LENGTH, calm};
use super::story::{Story, tell, with_crash};

/// A crash may cost the rest of the Lease, and what an agent waits for before it reports.
const WITH_CRASH: Duration = LENGTH.saturating_add(Duration::from_mins(1));

/// Lets the client crash after its first write, after its second one and so on, until it makes no more.
fn every_crash_ends_as_without(new: fn() -> Story, prefix: &'static str) {
    let calm = calm(new).dump;
    let mut number = 1;
    let points = loop {
        let end = with_crash(new, prefix, number, WITH_CRASH);
        if end.crashes == 0 {
            break number - 1;
        }
        assert_eq!(end.problems, Vec::<String>::new(), "{prefix}, crash {number}");
        assert_eq!(end.dump, calm, "{prefix}, crash {number}\n{}", end.log.join("\n"));
        number += 1;
    };
    tell(&format!("{} crash points of {}", points, prefix.trim_end_matches('/')));
    assert!(points > 0, "{prefix} makes no write");
}

#[test]
fn an_operator_that_crashes_after_any_write_changes_no_outcome() {
    every_crash_ends_as_without(Story::new, "operator/");
}

#[test]
fn an_agent_that_crashes_after_any_write_changes_no_outcome() {
    for prefix in ["agent-n1/", "agent-n2/", "agent-n3/"] {
        every_crash_ends_as_without(Story::new, prefix);
    }
}

#[test]
fn a_soft_reboot_is_done_once_whichever_program_crashes_after_whichever_write() {
    for prefix in ["operator/", "agent-n1/"] {
        every_crash_ends_as_without(Story::with_soft_reboot, prefix);
    }
}
