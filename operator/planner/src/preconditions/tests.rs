use chrono::TimeDelta;

use super::*;
use crate::action::{Action, Change, Finished, RecordChange};
use crate::snapshot::{
    Hold, OnTimeout, Order, OrderAction, OrderedReboot, Outcome, Phase, RebootMethod, Settings, Stage, StageKind,
};

mod proofs;
mod verdicts;

fn now() -> Instant {
    Instant::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn seconds_ago(seconds: i64) -> Instant {
    now() - TimeDelta::seconds(seconds)
}

fn operation(id: &str, phase: Phase) -> Operation {
    Operation {
        id: id.to_owned(),
        attempt: 0,
        phase,
        policy: "a".into(),
        boot_id_before: "boot-0".into(),
        soft_reboots_before: None,
        kernel_before: String::new(),
        reasons: vec![],
        requested: None,
        approved: None,
        required: None,
        started: seconds_ago(60),
        asked: seconds_ago(60),
        cordoned: Some(seconds_ago(60)),
        stage: None,
        reboot_ordered: None,
        refused: None,
        rebooted: None,
        uncordoned: None,
        pods_moved: 0,
        daemon_sets: vec![],
        static_pods: vec![],
        workloads: vec![],
        checks_baseline: vec![],
        healthy_since: None,
        hook: None,
        ended_hooks: Vec::new(),
        noticed: None,
        overridden: None,
        extended_until: None,
        returning_owners: vec![],
        settings: Settings::default(),
        failure: None,
        pending_outcome: None,
    }
}

fn holder(node: &str, operation_id: &str) -> Holder {
    Holder {
        node: node.to_owned(),
        node_uid: format!("uid-{node}"),
        policy: "a".into(),
        operation_id: operation_id.to_owned(),
        acquired: seconds_ago(60),
        reboot: Some(OrderedReboot {
            time: seconds_ago(1),
            boot_id_before: "boot".into(),
            soft_reboots_before: None,
            deadline: seconds_ago(-900),
        }),
    }
}

fn lock(holders: Vec<Holder>) -> Lock {
    Lock {
        holders,
        ..Lock::default()
    }
}

fn node(cordoned_for: Option<&str>) -> NodeState {
    NodeState {
        uid: "uid-n1".to_owned(),
        unschedulable: cordoned_for.is_some(),
        cordoned_for: cordoned_for.map(str::to_owned),
        boot_id: "boot-0".into(),
        hold: None,
        version: Some(7),
    }
}

fn record(operation: Option<Operation>) -> RecordState {
    RecordState {
        owners: vec!["uid-n1".to_owned()],
        policy: Some("a".into()),
        has_order: false,
        operation: operation.map(Box::new),
    }
}

/// The node `n1` and its lock: observed by the plan, and read again unchanged.
struct Objects {
    lock: Lock,
    node: Option<NodeState>,
    record: RecordState,
    policies_verified: bool,
    has_written_lock: bool,
    proven: Proven,
}

impl Objects {
    /// `n1` holds a slot for `op-1`.
    fn new(operation: Option<Operation>, cordoned_for: Option<&str>) -> Self {
        Self {
            lock: lock(vec![holder("n1", "op-1")]),
            node: Some(node(cordoned_for)),
            record: record(operation),
            policies_verified: false,
            has_written_lock: false,
            proven: Proven::default(),
        }
    }

    fn read(&self, read: &Read, fresh: &mut Fresh) {
        match read {
            Read::Lock => fresh.lock = Some(self.lock.clone()),
            Read::Node(name) | Read::NodeIfPresent(name) => {
                fresh.nodes.insert(name.clone(), self.node.clone());
            }
            Read::Record(name) => {
                fresh.records.insert(name.clone(), Some(self.record.clone()));
            }
            Read::Policies => fresh.policies = Some(self.policies()),
            Read::CordonedNodes => fresh.cordons = Some(self.cordons()),
            Read::Pods(_) => fresh.pods = Some(vec![]),
        }
    }

    /// What is read before the action, which must succeed.
    fn reads(&self, action: &Action) -> String {
        let mut fresh = Fresh::default();
        let mut reads = Vec::new();
        for precondition in preconditions(action, self, now()).expect("the action can be written") {
            while let Some(read) = precondition.next_read(&fresh) {
                self.read(&read, &mut fresh);
                reads.push(name(&read));
            }
            assert_eq!(precondition.check(&fresh), Ok(()));
        }
        reads.join(", ")
    }
}

impl Observed for Objects {
    fn lock(&self) -> Option<Lock> {
        Some(self.lock.clone())
    }

    fn node(&self, _: &str) -> Option<NodeState> {
        self.node.clone()
    }

    fn record(&self, _: &str) -> Option<RecordState> {
        Some(self.record.clone())
    }

    fn policies(&self) -> BTreeSet<PolicyIdentity> {
        BTreeSet::new()
    }

    fn cordons(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn policies_verified(&self) -> bool {
        self.policies_verified
    }

    fn has_created_record(&self, uid: &str) -> bool {
        uid == "uid-n1"
    }

    fn has_written_lock(&self) -> bool {
        self.has_written_lock
    }

    fn proven(&self) -> &Proven {
        &self.proven
    }
}

/// As ARCHITECTURE.md names it.
fn name(read: &Read) -> &'static str {
    match read {
        Read::Lock => "lock",
        Read::Node(_) | Read::NodeIfPresent(_) => "Node",
        Read::Record(_) => "NodeReboot",
        Read::Policies => "policies",
        Read::CordonedNodes => "cordoned Nodes",
        Read::Pods(_) => "pods",
    }
}

fn set_holders(holders: Vec<Holder>) -> Action {
    Action::SetHolders {
        holders,
        because: String::new(),
    }
}

fn write_record(change: RecordChange) -> Action {
    Action::WriteRecord {
        node: "n1".to_owned(),
        change: Box::new(change),
    }
}

fn finished() -> RecordChange {
    RecordChange {
        operation: Change::Set(None),
        finished: Some(Finished {
            operation: operation("op-1", Phase::Verifying),
            outcome: Outcome::Succeeded,
            message: String::new(),
            time: now(),
            boot_id_after: "boot-1".into(),
            kernel_after: String::new(),
            last_reboot: None,
        }),
        ..RecordChange::default()
    }
}

fn set_policy(policy: &str) -> Action {
    Action::SetSpec {
        node: "n1".to_owned(),
        policy: Some(policy.into()),
        order: None,
    }
}

fn order_reboot() -> Action {
    Action::OrderReboot {
        node: "n1".to_owned(),
        order: Order {
            id: "op-1-0".to_owned(),
            action: OrderAction::Reboot,
            boot_id: "boot-0".into(),
            method: RebootMethod::Auto,
            soft_reboots: None,
            not_after: None,
        },
    }
}

fn cordon() -> Action {
    Action::Cordon {
        node: "n1".to_owned(),
        operation_id: "op-1".to_owned(),
    }
}

fn create_record(uid: &str) -> Action {
    Action::CreateRecord {
        node: "n1".to_owned(),
        uid: uid.to_owned(),
        policy: None,
    }
}

/// Each row of the table in ARCHITECTURE.md by its start, with what is read before such an action.
fn rows() -> Vec<(&'static str, String)> {
    let none = || Objects::new(None, None);
    let in_phase = |phase, cordoned_for| Objects::new(Some(operation("op-1", phase)), cordoned_for);
    let begin = |phase| write_record(RecordChange::operation(operation("op-1", phase)));
    let uncordon = Action::Uncordon {
        node: "n1".to_owned(),
        keep_cordon: false,
    };
    let mut rebooted = in_phase(Phase::Rebooting, Some("op-1"));
    rebooted.node.iter_mut().for_each(|node| node.boot_id = "boot-1".into());
    let mut freed = in_phase(Phase::Draining, Some("op-1"));
    freed.lock = lock(vec![]);
    let restored = set_holders(vec![holder("n1", "op-1")]);
    vec![
        ("a holder leaves the lock", none().reads(&set_holders(vec![]))),
        ("a holder is restored", freed.reads(&restored)),
        ("an operation begins", none().reads(&begin(Phase::Preparing))),
        (
            "an operation is reconstructed",
            Objects::new(None, Some("op-1")).reads(&begin(Phase::Failed)),
        ),
        ("a reboot counts", rebooted.reads(&begin(Phase::Verifying))),
        (
            "an operation is removed",
            in_phase(Phase::Verifying, None).reads(&write_record(finished())),
        ),
        ("a cordon", in_phase(Phase::Preparing, None).reads(&cordon())),
        ("an uncordon", in_phase(Phase::Verifying, Some("op-1")).reads(&uncordon)),
        ("the name of a node's policy changes", none().reads(&set_policy("b"))),
        (
            "the reboot order",
            in_phase(Phase::Draining, Some("op-1")).reads(&order_reboot()),
        ),
        ("a second NodeReboot", none().reads(&create_record("uid-n1"))),
    ]
}

#[test]
fn each_write_is_preceded_by_the_reads_that_architecture_md_lists() {
    let page = include_str!("../../../../ARCHITECTURE.md");
    let (_, section) = page.split_once("\n## Preconditions\n").expect("the section is there");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let lines = section.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let listed: Vec<(&str, &str)> = cells.skip(1).map(|cells| (cells[1], cells[2])).collect();
    let rows = rows();
    assert_eq!(listed.len(), rows.len(), "{listed:?}");
    for ((before, reads), (start, actual)) in listed.into_iter().zip(rows) {
        assert!(before.starts_with(start), "row {before:?} is not {start:?}");
        assert_eq!(reads, actual, "before {before}");
    }
}

#[test]
fn an_action_that_is_guarded_by_its_own_object_alone_needs_no_read() {
    let preparing = Objects::new(Some(operation("op-1", Phase::Preparing)), None);
    let draining = write_record(RecordChange::operation(operation("op-1", Phase::Draining)));
    let admitted = set_holders(vec![holder("n1", "op-1"), holder("n2", "op-2")]);
    for action in [
        Action::CreateLock,
        set_policy("a"),
        create_record("new"),
        draining,
        admitted,
    ] {
        assert_eq!(preparing.reads(&action), "", "{}", action.name());
    }
}

#[test]
fn the_policies_are_read_once_for_all_nodes_whose_policy_changes() {
    let mut objects = Objects::new(None, None);
    objects.policies_verified = true;
    assert_eq!(objects.reads(&set_policy("b")), "");
}

#[test]
fn the_removal_of_an_order_does_not_wait_for_the_policies() {
    let mut objects = Objects::new(None, None);
    objects.record.has_order = true;
    assert_eq!(objects.reads(&set_policy("b")), "");
}

#[test]
fn a_holder_whose_node_is_gone_leaves_without_a_read_of_the_record() {
    let mut objects = Objects::new(Some(operation("op-1", Phase::Draining)), None);
    objects.node = None;
    assert_eq!(objects.reads(&set_holders(vec![])), "Node");
    objects.node = Some(NodeState {
        uid: "another".to_owned(),
        ..node(Some("op-1"))
    });
    assert_eq!(objects.reads(&set_holders(vec![])), "Node");
}

#[test]
fn a_reboot_with_pods_left_lists_no_pods_if_the_policy_says_so() {
    let mut draining = operation("op-1", Phase::Draining);
    draining.stage = Some(Stage {
        kind: StageKind::Reboot,
        since: seconds_ago(10),
    });
    let reads = |operation: &Operation| Objects::new(Some(operation.clone()), Some("op-1")).reads(&order_reboot());
    assert_eq!(reads(&draining), "lock, Node, pods");
    draining.settings.on_timeout = OnTimeout::Reboot;
    assert_eq!(reads(&draining), "lock, Node");
}

#[test]
fn an_action_on_an_object_that_is_gone_is_refused() {
    let mut objects = Objects::new(None, None);
    let refused = |objects: &Objects, action: &Action| preconditions(action, objects, now()).unwrap_err();
    assert_eq!(refused(&objects, &order_reboot()), "it has no operation");
    objects.node = None;
    assert_eq!(refused(&objects, &cordon()), "its Node is gone");
}
