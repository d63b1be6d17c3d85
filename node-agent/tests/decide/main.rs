//! What the agent does about an order, as a table of texts.

// The helper that reads the tables is not a test in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

mod case;

use expect_test::expect;

use case::{check, decision};

#[test]
fn without_an_order_the_agent_does_and_answers_nothing() {
    check("capable", &expect![""]);
}

#[test]
fn a_prepare_asks_the_actuator_first() {
    check("prepare", &expect!["ask facts for 1-0"]);
    check("prepare capable#0-0", &expect!["ask facts for 1-0"]);
    check("prepare capable#", &expect!["ask facts for 1-0"]);
    check("prepare capable@a", &expect!["ask facts for 1-0"]);
}

#[test]
fn a_prepare_is_answered_ready_from_facts_with_its_order_id() {
    check("prepare capable", &expect!["say 1-0 Ready"]);
}

#[test]
fn a_prepare_is_refused_with_the_remedy() {
    check(
        "prepare incapable",
        &expect!["say 1-0 Refused polkit asks; run as uid 0"],
    );
    check(
        "prepare inhibited:dpkg",
        &expect!["say 1-0 Refused shutdown inhibited by dpkg: mid-update; wait for it to finish, or stop it"],
    );
    check(
        "prepare overdue",
        &expect![
            "say 1-0 Refused the actuator does not respond; check the log of container actuator in this node's agent pod, or without that container the service lockkeeper-actuator of the host"
        ],
    );
}

#[test]
fn a_prepare_for_another_boot_is_refused() {
    check(
        "prepare@a capable",
        &expect!["say 1-0 Refused the order is for boot a, this host is in boot b; the operator will send a new order"],
    );
}

#[test]
fn a_prepare_is_answered_once() {
    check("prepare said:Ready", &expect!["say 1-0 Ready"]);
    check("prepare said:Ready incapable", &expect!["say 1-0 Ready"]);
    check("prepare said:Refused capable", &expect!["say 1-0 Refused"]);
}

#[test]
fn an_answer_of_the_previous_boot_does_not_count() {
    check("prepare said:Ready@a", &expect!["say 1-0 Ready; ask facts for 1-0"]);
    check(
        "reboot said:Rebooting@a",
        &expect!["say 1-0 Rebooting; order Reboot 1-0 of boot b"],
    );
}

#[test]
fn a_new_order_requests_facts_again() {
    check(
        "prepare#2-0 said:Failed capable",
        &expect!["say 1-0 Failed; ask facts for 2-0"],
    );
    check("prepare#2-0 said:Failed capable#2-0", &expect!["say 2-0 Ready"]);
    check(
        "reboot#2-0 said:Failed actuator:Failed",
        &expect!["say 1-0 Failed; order Reboot 2-0 of boot b"],
    );
}

#[test]
fn a_reboot_goes_to_the_actuator() {
    check("reboot", &expect!["order Reboot 1-0 of boot b"]);
    check(
        "reboot said:Ready",
        &expect!["say 1-0 Ready; order Reboot 1-0 of boot b"],
    );
}

#[test]
fn a_reboot_order_for_another_boot_does_nothing_and_its_answer_ends() {
    check("reboot@a", &expect![""]);
    check("reboot@a said:Rebooting@a", &expect!["say 1-0 Withdrawn"]);
    check("reboot@a said:Ready@a", &expect!["say 1-0 Withdrawn"]);
    check("reboot@a said:Withdrawn", &expect!["say 1-0 Withdrawn"]);
}

#[test]
fn the_answer_of_the_actuator_is_reported_and_the_order_removed() {
    check(
        "reboot actuator:Rebooting",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
    check(
        "reboot said:Ready actuator:Failed",
        &expect!["say 1-0 Failed the actuator's words"],
    );
    check(
        "reboot actuator:Refused",
        &expect!["say 1-0 Refused the actuator's words"],
    );
}

#[test]
fn an_answer_to_another_order_or_boot_does_not_count() {
    check("reboot actuator:Rebooting#0-0", &expect!["order Reboot 1-0 of boot b"]);
    check("reboot actuator:Rebooting@a", &expect!["order Reboot 1-0 of boot b"]);
}

#[test]
fn a_lost_directory_does_not_repeat_an_order() {
    check("reboot said:Rebooting", &expect!["say 1-0 Rebooting"]);
    check("reboot said:Failed", &expect!["say 1-0 Failed"]);
    check("reboot said:Refused", &expect!["say 1-0 Refused"]);
}

#[test]
fn a_removed_order_is_withdrawn() {
    check("said:Ready", &expect!["say 1-0 Withdrawn"]);
    check("said:Rebooting", &expect!["say 1-0 Withdrawn"]);
    check("said:Withdrawn", &expect!["say 1-0 Withdrawn"]);
}

#[test]
fn an_accepted_reboot_is_reported_even_if_the_order_or_the_object_is_gone() {
    check(
        "said:Rebooting actuator:Rebooting",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
    check("actuator:Rebooting", &expect!["say 1-0 Rebooting the actuator's words"]);
    check("actuator:Rebooting@a", &expect![""]);
    check("actuator:Failed", &expect![""]);
}

#[test]
fn the_message_of_a_refusal_or_failure_outlives_the_order() {
    check("said:Refused", &expect!["say 1-0 Refused"]);
    check("said:Failed", &expect!["say 1-0 Failed"]);
}

#[test]
fn an_order_that_is_set_again_is_checked_again() {
    check("prepare said:Withdrawn capable", &expect!["say 1-0 Ready"]);
}

#[test]
fn an_unknown_order_of_a_newer_operator_is_refused() {
    check(
        "strange-action",
        &expect!["say 1-0 Refused this agent does not support the action of the order; upgrade the agent"],
    );
    check(
        "strange-method",
        &expect!["say 1-0 Refused this agent does not support the method of the order; upgrade the agent"],
    );
}

#[test]
fn a_reboot_by_another_system_needs_no_actuator_and_is_never_passed_on_to_it() {
    check("external-prepare overdue", &expect!["say 1-0 Ready"]);
    check("external-prepare incapable", &expect!["say 1-0 Ready"]);
    check(
        "external-reboot operation:Rebooting said:Ready",
        &expect!["say 1-0 Rebooting another system reboots this host"],
    );
    check(
        "external-reboot operation:Draining said:Ready",
        &expect!["say 1-0 Ready"],
    );
    check(
        "external-reboot operation:Failed said:Ready",
        &expect!["say 1-0 Refused operation 1 is in phase Failed: no reboot is expected any more"],
    );
}

#[test]
fn a_reboot_by_kexec_is_passed_on_as_such() {
    let order = decision("kexec-reboot said:Ready").host_order.unwrap();
    assert!(order.kexec);
    let order = decision("reboot said:Ready").host_order.unwrap();
    assert!(!order.kexec);
}

#[test]
fn a_reboot_without_its_operation_is_refused() {
    check(
        "forged-reboot",
        &expect![
            "say 1-0 Refused order 1-0 belongs to no operation of this node: only a reboot that the operator has begun is executed"
        ],
    );
    check(
        "forged-reboot operation:Rebooting#2-0",
        &expect![
            "say 1-0 Refused order 1-0 is not that of the operation of this node, 2-0: only the operator's order is executed"
        ],
    );
    check(
        "forged-reboot operation:Rebooting#1-1",
        &expect![
            "say 1-0 Refused order 1-0 is not that of the operation of this node, 1-1: only the operator's order is executed"
        ],
    );
}

#[test]
fn a_reboot_waits_until_the_operation_is_in_phase_rebooting() {
    for phase in ["Preparing", "Draining"] {
        check(
            &format!("reboot operation:{phase} said:Ready"),
            &expect!["say 1-0 Ready"],
        );
    }
}

#[test]
fn a_reboot_is_refused_in_a_phase_that_expects_none() {
    check(
        "reboot operation:Failed said:Ready",
        &expect!["say 1-0 Refused operation 1 is in phase Failed: no reboot is expected any more"],
    );
    check(
        "reboot operation:Verifying",
        &expect!["say 1-0 Refused operation 1 is in phase Verifying: no reboot is expected any more"],
    );
    check("reboot ending", &expect!["say 1-0 Refused operation 1 is being ended"]);
    check(
        "reboot operation:Meditating",
        &expect!["say 1-0 Refused this agent does not know the phase of the operation; upgrade the agent"],
    );
}

#[test]
fn a_prepare_needs_no_operation() {
    check("prepare capable", &expect!["say 1-0 Ready"]);
    check("prepare capable operation:Failed#2-0", &expect!["say 1-0 Ready"]);
}

#[test]
fn a_request_under_way_is_no_answer_and_no_refusal() {
    check(
        "reboot said:Ready actuator:Requested",
        &expect!["say 1-0 Ready; order Reboot 1-0 of boot b"],
    );
    check(
        "reboot operation:Failed actuator:Requested",
        &expect!["say 1-0 Rebooting the reboot was requested and is not confirmed yet"],
    );
    check(
        "said:Ready actuator:Requested",
        &expect!["say 1-0 Rebooting the reboot was requested and is not confirmed yet"],
    );
    check("said:Ready actuator:Requested@a", &expect!["say 1-0 Withdrawn"]);
}

#[test]
fn an_order_that_has_expired_is_refused() {
    for order in ["prepare expires:999 capable", "reboot expires:999"] {
        check(
            order,
            &expect![
                "say 1-0 Refused order 1-0 expired at 1970-01-01T00:16:39Z, and the clock of this host shows 1970-01-01T00:16:40Z: the API server was away meanwhile, or that clock or the operator's is wrong"
            ],
        );
    }
    check("prepare expires:1000 capable", &expect!["say 1-0 Ready"]);
    check("reboot expires:1000", &expect!["order Reboot 1-0 of boot b"]);
}

#[test]
fn an_order_that_expires_after_its_request_is_no_refusal() {
    check(
        "reboot expires:999 actuator:Requested",
        &expect!["say 1-0 Rebooting the reboot was requested and is not confirmed yet"],
    );
    check(
        "reboot expires:999 actuator:Rebooting",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
}

#[test]
fn a_prepare_is_refused_while_the_host_has_just_booted() {
    check(
        "prepare capable just-booted",
        &expect![
            "say 1-0 Refused the host has just booted: its actuator reboots it only after 600 s of uptime, in 420 s (--min-uptime-seconds)"
        ],
    );
}

#[test]
fn a_soft_reboot_is_prepared_and_passed_on_for_the_count_of_its_order() {
    check("soft-prepare:2", &expect!["ask facts for 1-0"]);
    check("soft-prepare:2 capable#0-0 counted:2", &expect!["ask facts for 1-0"]);
    check("soft-prepare:2 capable counted:2", &expect!["say 1-0 Ready"]);
    check(
        "soft-reboot:2 capable#0-0 counted:2",
        &expect!["order Reboot 1-0 of boot b; only its userspace, after 2 soft-reboots"],
    );
}

#[test]
fn a_host_whose_soft_reboots_are_not_counted_refuses_one_before_the_cordon() {
    check(
        "soft-prepare:2 capable",
        &expect![
            "say 1-0 Refused the soft-reboots of this host cannot be counted, which would prove one: reboot.method: SoftReboot needs a systemd with the property SoftRebootsCount, and logind, which the actuator reaches over the system bus; or set reboot.method: Auto"
        ],
    );
    check(
        "soft-prepare:2 incapable",
        &expect!["say 1-0 Refused polkit asks; run as uid 0"],
    );
    check(
        "soft-prepare: capable counted:2",
        &expect![
            "say 1-0 Refused the order is for a host with an unknown number of soft-reboots since its boot, this one had 2; the operator will send a new order"
        ],
    );
}

#[test]
fn a_soft_reboot_that_is_done_is_not_requested_again_in_the_same_boot() {
    check("soft-reboot:2 capable counted:3", &expect![""]);
    check("soft-reboot:2 capable counted:3 said:Ready", &expect!["say 1-0 Ready"]);
    check(
        "soft-reboot:2 actuator:Rebooting answered-for:2 capable counted:3",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
    // The directory is lost, and the new actuator has not reported yet.
    check("soft-reboot:2 said:Ready", &expect!["say 1-0 Ready"]);
    check(
        "soft-reboot:2 said:Ready capable@a counted:2",
        &expect!["say 1-0 Ready"],
    );
}

#[test]
fn an_accepted_soft_reboot_is_reported_until_it_is_done() {
    check(
        "actuator:Rebooting answered-for:2 capable counted:2",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
    check("actuator:Rebooting answered-for:2 capable counted:3", &expect![""]);
    check(
        "actuator:Rebooting answered-for:2 capable counted:3 said:Rebooting",
        &expect!["say 1-0 Withdrawn"],
    );
    // A request that may have left is no refusal.
    check(
        "soft-reboot:2 actuator:Requested answered-for:2 capable",
        &expect!["say 1-0 Rebooting the reboot was requested and is not confirmed yet"],
    );
}
