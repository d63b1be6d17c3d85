//! Who goes first among those that could start. Safety never depends on it.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use crate::Instant;
use crate::capacity::{Facts, PolicyFacts, Wanting};
use crate::snapshot::QueueOrder;

/// A node that could start if there were room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// Its place in `Facts::wanting`, where all are by name.
    pub(crate) index: usize,
    /// Its policy's place in `Facts::policies`, by name as well.
    pub(crate) policy: usize,
    /// Last our own node, before it the control plane, before that what was put back or released.
    class: u8,
    /// Its domain, if that has not begun yet; one domain is finished before the next one begins.
    fresh_domain: Option<&'a str>,
    /// Which of the fresh domains of its policy that is, counted from 1: the one with the oldest need comes first.
    turn: u32,
    /// Since when it needs a reboot. All times are in nanoseconds.
    since: i64,
    /// What it is sorted by before its name: its need's age, or nothing.
    age: i64,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(index: usize, wanting: &Wanting<'a>, policy: &PolicyFacts<'a>, facts: &Facts<'a>) -> Self {
        let seen = wanting.seen;
        let own = facts.own_node.is_some_and(|own| std::ptr::eq(own, seen.node));
        let domain = policy
            .policy
            .topology
            .first()
            .map(|topology| topology.domain_of(seen.node));
        // What a person asks for without the host's asking has no age: it goes first.
        let since = wanting.since.map_or(i64::MIN, nanoseconds);
        Self {
            index,
            policy: policy.place,
            class: u8::from(own) << 2 | u8::from(wanting.control_plane) << 1 | u8::from(wanting.again),
            fresh_domain: domain.filter(|domain| !policy.begun.contains(domain)),
            turn: 0,
            since,
            age: match policy.policy.order {
                QueueOrder::Oldest => since,
                QueueOrder::Name => i64::MIN,
            },
        }
    }

    /// What it is sorted by within one policy; policies stay together.
    fn key(&self) -> (usize, u8, u32, i64, usize) {
        (self.policy, self.class, self.turn, self.age, self.index)
    }
}

/// As a number, which is compared in one step; what is centuries away is as good as for ever.
fn nanoseconds(time: Instant) -> i64 {
    let seconds = time.timestamp().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.timestamp_subsec_nanos().into())
}

/// All candidates, first come first.
pub(crate) fn line_up(mut all: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    take_turns(&mut all);
    all.sort_unstable_by_key(Candidate::key);
    let of = |one: Option<&Candidate>| one.map(|one| one.policy);
    let several = of(all.first()) != of(all.last());
    if several { merge(&all) } else { all }
}

/// Fresh domains come one after the other, the one with the oldest need first.
fn take_turns(all: &mut [Candidate]) {
    let mut ages: BTreeMap<(usize, &str), i64> = BTreeMap::new();
    for one in all.iter() {
        let Some(domain) = one.fresh_domain else { continue };
        let age = ages.entry((one.policy, domain)).or_insert(one.since);
        *age = one.since.min(*age);
    }
    if ages.is_empty() {
        return;
    }
    let mut turns: Vec<(i64, (usize, &str))> = ages.into_iter().map(|(domain, age)| (age, domain)).collect();
    turns.sort_unstable();
    let turns: BTreeMap<(usize, &str), u32> = (1..).zip(turns).map(|(turn, (_, domain))| (domain, turn)).collect();
    for one in all {
        let domain = one.fresh_domain.map(|domain| (one.policy, domain));
        one.turn = domain.and_then(|domain| turns.get(&domain).copied()).unwrap_or(0);
    }
}

/// Policies take turns by who has waited longest in them, whatever order each has for itself.
fn merge<'a>(sorted: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let runs: Vec<&[Candidate<'a>]> = sorted.chunk_by(|one, other| one.policy == other.policy).collect();
    // The age of a run from each place on: a young node at its head must not hold up older ones behind it.
    let ages: Vec<Vec<i64>> = runs.iter().map(|run| oldest_from_each_place_on(run)).collect();
    let mut heads = BinaryHeap::new();
    let head = |run: usize, place: usize| Some(Reverse((runs[run].get(place)?.class, ages[run][place], run, place)));
    heads.extend((0..runs.len()).filter_map(|run| head(run, 0)));
    let mut merged = Vec::with_capacity(sorted.len());
    while let Some(mut first) = heads.peek_mut() {
        let Reverse((_, _, run, place)) = *first;
        merged.push(runs[run][place]);
        match head(run, place + 1) {
            Some(next) => *first = next,
            None => drop(PeekMut::pop(first)),
        }
    }
    merged
}

fn oldest_from_each_place_on(run: &[Candidate]) -> Vec<i64> {
    let mut ages: Vec<i64> = run.iter().map(|one| one.since).collect();
    for place in (1..run.len()).rev() {
        if run[place - 1].class == run[place].class {
            ages[place - 1] = ages[place - 1].min(ages[place]);
        }
    }
    ages
}
