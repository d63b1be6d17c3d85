//! What a view has of an object is brought up to date in place: most news change a field or two, and a copy of a Node or a
//! record costs a dozen allocations. Each says whether anything is different now.

use lockkeeper_planner::*;

/// One value.
pub fn set<T: Clone + PartialEq>(to: &mut T, from: &T) -> bool {
    let differs = to != from;
    if differs {
        to.clone_from(from);
    }
    differs
}

/// All that a Node itself says; the rest a view fills in.
pub fn set_node(to: &mut Node, from: &Node) -> bool {
    let Node {
        uid,
        created,
        policies: _,
        boot_id,
        ready,
        unschedulable,
        cordoned_for,
        deletion_taint,
        taints,
        control_plane,
        hold,
        requested,
        approved,
        domains,
        record: _,
        preflight: _,
        drain: _,
        daemon_sets: _,
    } = from;
    set(&mut to.uid, uid)
        | set(&mut to.created, created)
        | set(&mut to.boot_id, boot_id)
        | set(&mut to.ready, ready)
        | set(&mut to.unschedulable, unschedulable)
        | set(&mut to.cordoned_for, cordoned_for)
        | set(&mut to.deletion_taint, deletion_taint)
        | set(&mut to.taints, taints)
        | set(&mut to.control_plane, control_plane)
        | set(&mut to.hold, hold)
        | set(&mut to.requested, requested)
        | set(&mut to.approved, approved)
        | set(&mut to.domains, domains)
}

/// A record, or that there is none.
pub fn set_record(to: &mut Option<Record>, from: Option<&Record>) -> bool {
    let (Some(to), Some(from)) = (to.as_mut(), from) else {
        let differs = to.is_some() || from.is_some();
        *to = from.cloned();
        return differs;
    };
    let Record {
        policy,
        order,
        host,
        operation,
        deferred,
        released,
        last_reboot,
        finished,
        command,
        answered_command,
    } = from;
    set(&mut to.policy, policy)
        | set(&mut to.order, order)
        | set(&mut to.host, host)
        | set(&mut to.operation, operation)
        | set(&mut to.deferred, deferred)
        | set(&mut to.released, released)
        | set(&mut to.last_reboot, last_reboot)
        | set(&mut to.finished, finished)
        | set(&mut to.command, command)
        | set(&mut to.answered_command, answered_command)
}
