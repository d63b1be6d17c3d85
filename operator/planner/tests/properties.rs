//! Rules that hold whatever the cluster looks like and wherever the operator dies.

mod common;

use chrono::TimeDelta;
use common::World;
use lockkeeper_planner::*;
use proptest::prelude::*;

/// One thing that happens between two passes.
#[derive(Clone, Debug)]
enum Event {
    /// The operator writes this many actions of its plan and dies.
    Pass(usize),
    /// A second passes for agents, kubelets and pods.
    Second,
    /// Minutes pass.
    Minutes(u8),
    Uncordon(usize),
    Cordon(usize),
    Hold(usize),
    Unhold(usize),
    Die(usize),
    Command(usize, &'static str),
    Limit(usize),
    Suspend(bool),
    LoseLock,
}

fn event() -> impl Strategy<Value = Event> {
    let node = 1usize..5;
    prop_oneof![
        30 => (0usize..6).prop_map(Event::Pass),
        30 => Just(Event::Second),
        4 => (1u8..20).prop_map(Event::Minutes),
        1 => node.clone().prop_map(Event::Uncordon),
        1 => node.clone().prop_map(Event::Cordon),
        1 => node.clone().prop_map(Event::Hold),
        1 => node.clone().prop_map(Event::Unhold),
        1 => node.clone().prop_map(Event::Die),
        2 => (node, prop::sample::select(vec!["retry", "release", "cancel"])).prop_map(|(n, c)| Event::Command(n, c)),
        1 => (1usize..3).prop_map(Event::Limit),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => Just(Event::LoseLock),
    ]
}

fn happen(world: &mut World, event: &Event) {
    let name = |number: &usize| format!("n{number}");
    match event {
        Event::Pass(cut) => {
            world.pass(*cut);
        }
        Event::Second => {
            world.now += TimeDelta::seconds(1);
            world.surroundings();
        }
        Event::Minutes(minutes) => world.now += TimeDelta::minutes(i64::from(*minutes)),
        Event::Uncordon(n) => world.node(&name(n)).unschedulable = false,
        Event::Cordon(n) => world.node(&name(n)).unschedulable = true,
        Event::Hold(n) => {
            world.node(&name(n)).hold = Some(Hold {
                reason: "why".to_owned(),
                until: None,
                invalid_until: None,
            });
        }
        Event::Unhold(n) => world.node(&name(n)).hold = None,
        Event::Die(n) => {
            let (now, node) = (world.now, world.node(&name(n)));
            node.ready = Ready {
                ready: false,
                since: now,
                heartbeat: now,
                message: "gone".to_owned(),
            };
        }
        Event::Command(n, verb) => world.command(verb, &name(n)),
        Event::Limit(limit) => {
            world.limit(*limit);
        }
        Event::Suspend(suspend) => world.policy().suspend = *suspend,
        Event::LoseLock => world.snapshot.lock = None,
    }
}

/// Everything that was broken is repaired and every held node is let go; then the rollout must end.
fn heal(world: &mut World) {
    world.policy().suspend = false;
    world.never_back.clear();
    world.blocked.clear();
    for name in ["n1", "n2", "n3", "n4"] {
        world.node(name).hold = None;
        if !world.node(name).ready.ready {
            world.boot(name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// `World::plan` asks `check` in every pass: a violation fails the test with the trace.
    #[test]
    fn every_prefix_of_every_plan_is_safe_and_every_rollout_finishes(
        events in prop::collection::vec(event(), 1..120),
        never_back in any::<bool>(),
        blocked in any::<bool>(),
        on_timeout in prop::sample::select(vec![OnTimeout::Defer, OnTimeout::Delete, OnTimeout::Reboot]),
        taints in any::<bool>(),
    ) {
        let mut world = World::new(4);
        world.policy().settings.on_timeout = on_timeout;
        world.policy().settings.daemon_sets_last = taints;
        world.policy().settings.prefer_updated_nodes = taints;
        if never_back { world.never_back = vec!["n2".to_owned()]; }
        if blocked { world.blocked = vec!["n3".to_owned()]; }
        let mut most = 1;
        for event in &events {
            if let Event::Limit(limit) = event { most = most.max(*limit); }
            happen(&mut world, event);
            let marked = world.snapshot.nodes.values().filter(|node| node.cordoned_for.is_some()).count();
            prop_assert!(marked <= most, "{marked} cordoned, {most} allowed\n{}", world.trace);
        }
        heal(&mut world);
        for _ in 0..40 {
            world.now += TimeDelta::minutes(20);
            for name in ["n1", "n2", "n3", "n4"] {
                if world.record(name).operation.as_ref().is_some_and(|op| op.phase == Phase::Failed) {
                    world.command("retry", name);
                }
                if !world.node(name).ready.ready { world.boot(name); }
            }
            world.run_until_idle();
            world.run(60);
        }
        for (name, node) in &world.snapshot.nodes {
            let record = node.record.as_ref().unwrap();
            prop_assert!(!node.requires_reboot() || record.released.is_some() || record.last_reboot.is_some(),
                "{name} was never rebooted: {}\n{}", world.wait_reasons(), world.trace);
        }
        // Whose cordon is whose, only the simulator knows.
        prop_assert_eq!(check::leftovers(&world.snapshot, &world.snapshot), vec![], "{}", world.trace);
    }

    #[test]
    fn the_order_of_a_snapshot_does_not_matter_and_no_action_is_repeated(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(4);
        for event in &events { happen(&mut world, event); }
        let plan = world.plan();
        let mut shuffled = world.snapshot.clone();
        shuffled.lock.iter_mut().for_each(|lock| lock.holders.reverse());
        let other = lockkeeper_planner::plan(&shuffled, world.now);
        prop_assert_eq!(check::order_dependence(&plan, &other), None);
        world.pass(usize::MAX);
        prop_assert_eq!(check::repeats(&plan, &world.plan()), vec![], "{}", world.trace);
        world.run_until_idle();
        prop_assert_eq!(world.plan().actions, vec![]);
    }
}

proptest! {
    // Long stories: each of them takes hundreds of passes.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Each process makes one write and dies: nothing may hang on a second one.
    #[test]
    fn an_operator_that_restarts_after_each_write_reboots_every_node(
        limit in 1usize..4,
        canary in any::<bool>(),
        taints in any::<bool>(),
        control_plane in any::<bool>(),
        blocked in any::<bool>(),
        own_node in any::<bool>(),
    ) {
        let mut world = World::new(4);
        world.limit(limit);
        world.policy().canary = canary.then_some(Canary { nodes: 1, soak: TimeDelta::seconds(30) });
        world.policy().settings.daemon_sets_last = taints;
        world.policy().settings.prefer_updated_nodes = taints;
        world.node("n1").control_plane = control_plane;
        world.node("n2").control_plane = control_plane;
        world.snapshot.own_node = own_node.then(|| "n3".to_owned());
        if blocked { world.blocked = vec!["n4".to_owned()]; }
        for second in 0..4000 {
            world.pass(1);
            world.now += TimeDelta::seconds(1);
            world.surroundings();
            if second == 2000 { world.blocked.clear(); }
        }
        for name in ["n1", "n2", "n3", "n4"] {
            prop_assert!(world.record(name).last_reboot.is_some(), "{name}: {}\n{}", world.wait_reasons(), world.trace);
        }
        prop_assert_eq!(check::leftovers(&world.snapshot, &world.snapshot), vec![], "{}", world.trace);
    }

    /// However the windows fall, the first in the queue of those that could start starts first, and no node waits for ever.
    #[test]
    fn every_node_gets_its_turn_however_the_windows_fall(
        windows in prop::collection::vec((0u32..24, 0u32..60, 60i64..400), 1..4),
        since in prop::collection::vec(1i64..10_000, 4),
        needs in 30i64..300,
    ) {
        let mut world = World::new(4);
        let windows: Vec<(String, i64)> = windows.iter().map(|(h, m, length)| (format!("{m} {h} * * *"), *length)).collect();
        let windows: Vec<(&str, i64)> = windows.iter().map(|(cron, length)| (cron.as_str(), *length)).collect();
        world.policy().schedule = Ok(common::windows(&windows));
        world.policy().duration_estimate.cordoned = TimeDelta::seconds(needs);
        let now = world.now;
        for (place, minutes) in since.iter().enumerate() {
            let host = world.record(&format!("n{}", place + 1)).host.as_mut().unwrap();
            host.required_since = Some(now - TimeDelta::minutes(*minutes));
        }
        // Each node asks again as soon as it was rebooted; in nine days everybody has had a turn, by age.
        let end = now + TimeDelta::days(9);
        let mut first = Vec::new();
        while world.now < end && first.len() < 4 {
            world.run_until_idle();
            let soon = world.now + TimeDelta::seconds(1);
            let busy = !world.in_progress().is_empty();
            let next = if busy { soon } else { world.plan().recheck_at.unwrap_or(end).max(soon) };
            world.now = next;
            world.surroundings();
            for name in ["n1", "n2", "n3", "n4"] {
                let now = world.now;
                let done = world.record(name).last_reboot.is_some();
                let host = world.record(name).host.as_mut().unwrap();
                if done && !host.required {
                    (host.required, host.required_since) = (true, Some(now));
                    host.reasons = vec![format!("update of {now}")];
                    if !first.contains(&name) { first.push(name); }
                }
            }
        }
        let mut by_age: Vec<(i64, &str)> = since.iter().zip(["n1", "n2", "n3", "n4"]).map(|(age, name)| (-age, name)).collect();
        by_age.sort_unstable();
        let by_age: Vec<&str> = by_age.into_iter().map(|(_, name)| name).collect();
        prop_assert_eq!(first, by_age, "{}\n{}", world.wait_reasons(), world.trace);
    }
}
