//! What a seed begins with: nodes, policies, windows, limits, which faults there are and when they end.

use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta};
use lockkeeper_planner::*;

use super::cluster::{Cluster, Cordon, Kind, LockObject, NodeObject, PolicyObject, RebootObject};
use super::faults::{Fault, Faults};
use super::hosts;
use super::operator::Operator;
use super::restore;
use super::rng::Rng;
use super::view::View;
use super::world::{Event, Setup, World};

const ZONE: &str = "topology.kubernetes.io/zone";

pub fn world(seed: u64, setup: Setup) -> World {
    let mut rng = Rng::new(seed);
    let count = setup.nodes.unwrap_or_else(|| rng.below(10) + 1);
    // The clocks change in Europe and in America on these days, or on none.
    let days = [
        "2026-03-28T18:00:00Z",
        "2026-10-24T18:00:00Z",
        "2026-10-31T18:00:00Z",
        "2026-11-21T12:00:00Z",
    ];
    let start = DateTime::parse_from_rfc3339(rng.pick(&days)).map_or_else(|_| DateTime::default(), |t| t.to_utc());
    // In some seeds, both operators lead all the time, over one plain policy.
    let two_leaders = !setup.no_faults && (rng.chance(200) || setup.two_leaders);
    let faults = match (setup.no_faults, two_leaders, setup.faults) {
        (true, ..) => Faults::none(),
        (false, true, []) => Faults::two_leaders(&mut rng),
        (false, false, []) => Faults::some(&mut rng),
        (false, _, chosen) => Faults::only(chosen),
    };
    let (cluster, hosts) = cluster(count, start, setup.no_faults || two_leaders, &mut rng);
    let own = |rng: &mut Rng| rng.chance(500).then(|| rng.below(count));
    let own_nodes = [own(&mut rng), own(&mut rng)];
    let mut world = World::new(seed, rng, start, cluster, hosts, faults);
    world.mutant = setup.mutant;
    world.boots_in = setup.boots_in;
    if let Some(boots_in) = setup.boots_in {
        fleet(&mut world, boots_in);
    }
    if setup.faults.is_empty() && !setup.no_faults && !two_leaders && restore::is_known(seed) {
        world.faults.enable(Fault::Restored);
    }
    world.trace = setup.traced.then(String::new);
    for own_node in own_nodes {
        let name = own_node.map(|index| world.cluster.names[index].clone());
        world.operators.push(Operator::new(View::new(&world.cluster, name)));
    }
    begin(&mut world, setup, two_leaders);
    // Forecasts know nothing of it, and are judged to the second.
    let seed_says = world.daemon_rng.chance(500);
    if setup.daemons.unwrap_or(seed_says) && setup.boots_in.is_none() {
        world.with_daemons();
    }
    let seed_says = world.workload_rng.chance(500);
    if setup.workloads.unwrap_or(seed_says) && setup.boots_in.is_none() {
        world.with_workloads();
    }
    let seed_says = world.check_rng.chance(300);
    if setup.checks.unwrap_or(seed_says) && setup.boots_in.is_none() && !setup.no_faults {
        world.with_checks();
    }
    let seed_says = world.hook_rng.chance(300);
    if setup.hooks.unwrap_or(seed_says) && setup.boots_in.is_none() && !setup.no_faults {
        world.with_hooks();
    }
    let seed_says = world.notice_rng.chance(300);
    if setup.notices.unwrap_or(seed_says) && setup.boots_in.is_none() && !setup.no_faults {
        world.with_notices();
    }
    let seed_says = world.deadline_rng.chance(300);
    if setup.deadlines.unwrap_or(seed_says) && setup.boots_in.is_none() && !setup.no_faults {
        world.with_deadlines();
    }
    world
}

/// A policy as people write them, with what its operations are known to take.
fn fleet(world: &mut World, boots_in: i64) {
    let limit = world
        .rng
        .pick(&[Limit::Count(1), Limit::Count(2), Limit::Count(3), Limit::Percent(20)]);
    let (pace, soak) = (world.rng.pick(&[0, 0, 600]), TimeDelta::minutes(20));
    let canary = world.rng.chance(300).then_some(Canary { nodes: 1, soak });
    let schedule = if world.rng.chance(400) {
        schedule(&mut world.rng)
    } else {
        Ok(Schedule::default())
    };
    // Agent, marks, drain, the way down and back: some 15 s beside the reboot itself.
    let learned = DurationEstimate {
        cordoned: TimeDelta::milliseconds(boots_in * 4 / 3),
        total: TimeDelta::milliseconds(boots_in + 15_000),
    };
    let group = world
        .cluster
        .policies
        .iter()
        .flatten()
        .fold(0, |all, policy| all | policy.groups);
    for index in 0..world.cluster.policies.len() {
        world.cluster.put_policy(index, None);
    }
    let value = Policy {
        max_in_progress: limit,
        max_unavailable: limit,
        pace: TimeDelta::seconds(pace),
        canary,
        schedule,
        duration_estimate: learned,
        ..Policy::default()
    };
    let (version, groups) = (0, group);
    world.cluster.put_policy(
        0,
        Some(PolicyObject {
            version,
            uid: 0,
            generation: 0,
            groups,
            value,
        }),
    );
    world.cluster.news.clear();
}

/// The first events.
fn begin(world: &mut World, setup: Setup, two_leaders: bool) {
    for operator in 0..world.operators.len() {
        for kind in Kind::ALL {
            let delay = world.rng.between(10, 1000);
            world.after(delay, Event::List(operator, 0, kind));
        }
    }
    world.after(0, Event::Lead(0, true));
    for node in 0..world.hosts.len() {
        let delay = world.rng.between(10, 5000);
        world.after(delay, Event::Report(node, 0));
        let late = if setup.no_faults {
            0
        } else {
            world.rng.pick(&[0, 0, 3_600_000])
        };
        let asks = delay + 10 + world.rng.between(0, late.max(2000));
        world.after(asks, Event::Requires(node));
    }
    if setup.no_faults {
        return world.after(2_000, Event::Quiet);
    }
    if two_leaders {
        world.after(0, Event::Lead(1, true));
    }
    world.after(1000, Event::Meddle);
    world.after(1000, Event::Trouble);
    let lengths: &[i64] = if two_leaders {
        &[1_200_000]
    } else {
        &[1_200_000, 7_200_000, 43_200_000]
    };
    let longest = world.rng.pick(lengths);
    let quiet = world.rng.between(60_000, longest);
    world.after(quiet, Event::Quiet);
}

fn cluster(count: usize, start: Instant, no_faults: bool, rng: &mut Rng) -> (Cluster, Vec<hosts::Host>) {
    let mut numbers: Vec<usize> = (0..count).collect();
    rng.shuffle(&mut numbers);
    let names = numbers.iter().map(|number| format!("n{number:02}")).collect();
    let pods = (0..count).map(|_| rng.below(4)).collect();
    let mut cluster = Cluster::new(names, vec!["a".into(), "b".into()], pods);
    let both = rng.chance(400);
    for index in 0..=usize::from(both) {
        let mut object = policy_object(index, rng);
        if no_faults {
            let limit = Limit::Count(rng.below(2) + 1);
            let value = Policy {
                max_in_progress: limit,
                max_unavailable: limit,
                ..Policy::default()
            };
            object.value = value;
        }
        cluster.put_policy(index, Some(object));
    }
    if rng.chance(800) {
        let max_in_progress = rng.chance(150).then_some(Limit::Count(2));
        let value = Lock {
            max_in_progress,
            ..Lock::default()
        };
        cluster.put_lock(Some(LockObject {
            version: 0,
            uid: 1,
            value,
        }));
    }
    let controls = if rng.chance(300) { rng.below(4) } else { 0 };
    for index in 0..count {
        let mut value = node(
            hosts::boot_id(index, 0),
            format!("uid-{index}-0"),
            start - TimeDelta::days(9),
            true,
        );
        value.control_plane = index < controls;
        if rng.chance(850) {
            value
                .domains
                .insert(ZONE.to_owned(), rng.pick(&["z1", "z2", "z3"]).to_owned());
        }
        let human = !no_faults && rng.chance(50);
        let group = if both && rng.chance(400) { 2 } else { 1 };
        let cordon = Cordon {
            human,
            ..Cordon::default()
        };
        cluster.put_node(
            index,
            Some(NodeObject {
                version: 0,
                group,
                cordon,
                value,
            }),
        );
        if rng.chance(500) {
            let owner = format!("uid-{index}-0");
            let record = Record::default();
            cluster.put_reboot(
                index,
                Some(RebootObject {
                    version: 0,
                    owner,
                    record,
                    undecodable: false,
                }),
            );
        }
    }
    cluster.news.clear();
    let host = |(index, node): (usize, &Rc<NodeObject>)| hosts::Host {
        // Every other host has a systemd that counts them.
        soft_reboots: (index % 2 == 0).then_some(0),
        boot_id: node.value.boot_id.clone(),
        booted: -TimeDelta::days(9).num_milliseconds(),
        up: true,
        takes_pods: true,
        ..hosts::Host::default()
    };
    let hosts = cluster.nodes.iter().flatten().enumerate().map(host).collect();
    (cluster, hosts)
}

pub fn node(boot_id: BootId, uid: String, created: Instant, ready: bool) -> Node {
    Node {
        uid,
        created,
        policies: [].into(),
        boot_id,
        ready: Ready {
            ready,
            since: created,
            heartbeat: created,
            message: "KubeletReady".to_owned(),
        },
        unschedulable: false,
        cordoned_for: None,
        deletion: None,
        taints: Taints::default(),
        control_plane: false,
        unready_static_pod: None,
        view_gap: None,
        refused_write: None,
        hold: None,
        requested: None,
        approved: None,
        domains: BTreeMap::new(),
        record: None,
        preflight: Preflight::Unknown,
        drain: Drain::NotStarted,
        drain_details: DrainDetails::default(),
        daemon_sets: DaemonSetReadiness::Unknown,
        workloads: WorkloadReadiness::Unknown,
        handshake: None,
        notice: NoticeCondition::Absent,
        hook_job: None,
    }
}

/// A policy with some of what a policy can ask for.
pub fn policy_object(index: usize, rng: &mut Rng) -> PolicyObject {
    let limit = limit(rng);
    let topology = Topology {
        key: ZONE.to_owned(),
        max_domains: rng.chance(700).then_some(1),
        max_in_progress_per_domain: rng.chance(500).then_some(1),
    };
    let soak = TimeDelta::minutes(rng.between(1, 40));
    let canary = Canary {
        nodes: rng.below(2) + 1,
        soak,
    };
    let breaker = BreakerRule {
        max_failed: rng.below(3) + 1,
        cooldown: rng.chance(500).then_some(TimeDelta::minutes(30)),
    };
    PolicyObject {
        uid: 0,
        generation: 0,
        version: 0,
        groups: 1 << index,
        value: Policy {
            schedule: schedule(rng),
            max_in_progress: limit,
            max_unavailable: rng.pick(&[limit, limit, Limit::Count(1), Limit::Count(2), Limit::Percent(50)]),
            topology: if rng.chance(300) { vec![topology] } else { vec![] },
            pace: TimeDelta::seconds(rng.pick(&[0, 0, 0, 45, 600])),
            order: rng.pick(&[QueueOrder::Oldest, QueueOrder::Name]),
            canary: rng.chance(250).then_some(canary),
            approval: if rng.chance(150) {
                Approval::Manual
            } else {
                Approval::Automatic
            },
            breaker: if rng.chance(500) {
                breaker
            } else {
                BreakerRule::default()
            },
            settings: Settings {
                daemon_sets_last: rng.chance(200),
                prefer_updated_nodes: rng.chance(200),
                load_balancer_delay: TimeDelta::seconds(rng.pick(&[0, 0, 30])),
                on_timeout: rng.pick(&[OnTimeout::Defer, OnTimeout::Defer, OnTimeout::Delete, OnTimeout::Reboot]),
                ..Settings::default()
            },
            ..Policy::default()
        },
    }
}

pub fn limit(rng: &mut Rng) -> Limit {
    rng.pick(&[
        Limit::Count(1),
        Limit::Count(1),
        Limit::Count(1),
        Limit::Count(2),
        Limit::Count(3),
        Limit::Percent(10),
        Limit::Percent(40),
    ])
}

/// None, or one that opens each day, some of them where the clocks change.
pub fn schedule(rng: &mut Rng) -> Result<Schedule, String> {
    if rng.chance(600) {
        return Ok(Schedule::default());
    }
    let cron = rng.pick(&["0 22 * * *", "30 2 * * *", "30 * * * *", "0 */6 * * *"]);
    let zone = rng.pick(&["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]);
    let seconds = rng.pick(&[1200, 3600, 14_400]);
    let window = |cron, seconds| Window::parse(cron, seconds, zone).map_err(|error| error.to_string());
    let mut exclusions = vec![];
    if rng.chance(300) {
        let (when, reason) = (Box::new(window("10 * * * FRI", 900)?), "backups".to_owned());
        exclusions.push(Exclusion::Recurring { when, reason });
    }
    Ok(Schedule {
        windows: vec![window(cron, seconds)?],
        exclusions,
    })
}
