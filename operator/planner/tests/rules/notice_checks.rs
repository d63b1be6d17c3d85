//! The safety rules about advance notice: what `check` reports.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;
use crate::notice::{LENGTH, given, operation, world};

/// What `check` says of the plan with this action.
fn violations(world: &World, action: Action) -> Vec<String> {
    let plan = Plan {
        actions: vec![action],
        ..world.plan()
    };
    let violations = check(&world.snapshot, &plan, world.now);
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn s3_reports_a_reboot_order_without_notice_and_a_false_record_of_it() {
    let mut world = world();
    world.leaving.push("n1".to_owned());
    world.surroundings();
    let recorded = operation(&mut world);
    let silent = Operation {
        noticed: None,
        ..recorded.clone()
    };
    world.record("n1").operation = Some(Box::new(silent));
    let order = Order {
        id: recorded.order_id(),
        action: OrderAction::Reboot,
        boot_id: recorded.boot_id_before.clone(),
        method: recorded.method(),
        soft_reboots: None,
        not_after: None,
    };
    let node = || "n1".to_owned();
    let found = violations(&world, Action::OrderReboot { node: node(), order });
    assert!(
        found.contains(&"S3: n1 would be rebooted without notice".to_owned()),
        "{found:?}"
    );
    let record = |noticed| Action::WriteRecord {
        node: node(),
        change: Box::new(RecordChange::operation(Operation {
            noticed: Some(noticed),
            ..recorded.clone()
        })),
    };
    let given = given(&mut world);
    assert_eq!(violations(&world, record(given)), Vec::<String>::new());
    let expected = "S3: a notice of n1 would be recorded that its Node does not show";
    assert_eq!(violations(&world, record(given - LENGTH)), [expected]);
}

#[test]
fn s5_reports_a_notice_that_is_not_asked_for_and_the_removal_of_anothers() {
    let mut world = world();
    let id = operation(&mut world).order_id();
    let give = |id: &str, lasts: TimeDelta| Action::GiveNotice {
        node: "n1".to_owned(),
        id: id.to_owned(),
        lasts,
    };
    let end = |id: &str| Action::EndNotice {
        node: "n1".to_owned(),
        id: id.to_owned(),
    };
    assert_eq!(violations(&world, give(&id, LENGTH)), Vec::<String>::new());
    assert_eq!(violations(&world, end(&id)), Vec::<String>::new());
    let unasked = "S5: n1 would get a notice that no operation asks for";
    assert_eq!(violations(&world, give("other-0", LENGTH)), [unasked]);
    assert_eq!(violations(&world, give(&id, LENGTH / 2)), [unasked]);
    let foreign = "S5: n1 has no notice of ours to remove";
    assert_eq!(violations(&world, end("other-0")), [foreign]);
    world.node("n1").notice = NoticeCondition::Foreign {
        reason: "Recycling".to_owned(),
    };
    let replaced = "S5: n1 would get a notice in the place of another client's";
    assert_eq!(violations(&world, give(&id, LENGTH)), [replaced]);
    assert_eq!(violations(&world, end(&id)), [foreign]);
}
