//! Who goes first among those that could start. Safety never depends on it.

use std::cmp::{Ordering, Reverse};
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
    /// Whether its domain has not begun yet; one domain is finished before the next one begins.
    fresh_domain: bool,
    /// The oldest need in that domain; one domain after the other. All times are in nanoseconds.
    domain_age: i64,
    domain: &'a str,
    since: i64,
    /// What it is sorted by before its name: its need's age, or nothing.
    age: i64,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(index: usize, wanting: &Wanting<'a>, policy: &PolicyFacts<'a>, facts: &Facts<'a>) -> Self {
        let seen = wanting.seen;
        let own = facts.own_node.is_some_and(|own| std::ptr::eq(own, seen.node));
        let topology = policy.policy.topology.first();
        let domain = topology.map_or("", |topology| topology.domain_of(seen.node));
        // What a person asks for without the host's asking has no age: it goes first.
        let since = wanting.since.map_or(i64::MIN, nanoseconds);
        Self {
            index,
            policy: policy.place,
            class: u8::from(own) << 2 | u8::from(wanting.control_plane) << 1 | u8::from(wanting.again),
            fresh_domain: topology.is_some() && !policy.begun.contains(domain),
            domain_age: i64::MIN,
            domain,
            since,
            age: match policy.policy.order {
                QueueOrder::Oldest => since,
                QueueOrder::Name => i64::MIN,
            },
        }
    }

    /// The order within one policy; policies stay together.
    fn cmp(&self, other: &Self) -> Ordering {
        let head = |one: &Self| (one.policy, one.class, one.fresh_domain);
        head(self)
            .cmp(&head(other))
            .then_with(|| self.domain_age.cmp(&other.domain_age))
            .then_with(|| {
                if self.fresh_domain {
                    self.domain.cmp(other.domain)
                } else {
                    Ordering::Equal
                }
            })
            .then_with(|| self.age.cmp(&other.age))
            .then_with(|| self.index.cmp(&other.index))
    }
}

/// As a number, which is compared in one step; what is centuries away is as good as for ever.
fn nanoseconds(time: Instant) -> i64 {
    let seconds = time.timestamp().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.timestamp_subsec_nanos().into())
}

/// All candidates, first come first.
pub(crate) fn line_up(mut all: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    let mut ages: BTreeMap<(usize, &str), i64> = BTreeMap::new();
    for one in all.iter().filter(|one| one.fresh_domain) {
        let age = ages.entry((one.policy, one.domain)).or_insert(one.since);
        *age = one.since.min(*age);
    }
    for one in all.iter_mut().filter(|one| one.fresh_domain) {
        one.domain_age = ages.get(&(one.policy, one.domain)).copied().unwrap_or(one.since);
    }
    all.sort_unstable_by(Candidate::cmp);
    let of = |one: Option<&Candidate>| one.map(|one| one.policy);
    let several = of(all.first()) != of(all.last());
    if several { merge(&all) } else { all }
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
