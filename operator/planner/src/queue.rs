//! Who goes first among those that could start. Safety never depends on it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::Instant;
use crate::capacity::{Facts, PolicyFacts, Seen};
use crate::gate;
use crate::snapshot::QueueOrder;

/// A node that could start if there were room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) seen: Seen<'a>,
    pub(crate) policy: &'a str,
    /// First those that never failed, then those put back or released, the control plane, our own node.
    class: Class,
    /// Whether its domain has not begun yet; one domain is finished before the next one begins.
    fresh_domain: bool,
    domain: &'a str,
    since: Instant,
}

type Class = (bool, bool, bool);

impl<'a> Candidate<'a> {
    pub(crate) fn new(seen: Seen<'a>, policy: &PolicyFacts<'a>, facts: &Facts<'a>) -> Self {
        let (node, record) = (seen.node, seen.record);
        let own = facts.snapshot.own_node.as_deref() == Some(seen.name);
        let again = record.deferred.is_some() || record.released.is_some();
        let topology = policy.policy.topology.first();
        let domain = topology.map_or("", |topology| topology.domain_of(node));
        // What a person asks for without the host's asking has no age: it goes first.
        let since = gate::trusted_host(node)
            .and_then(|host| host.required_since)
            .unwrap_or(Instant::MIN_UTC);
        Self {
            seen,
            policy: policy.name,
            class: (own, node.control_plane, again),
            fresh_domain: topology.is_some() && !policy.begun.contains(domain),
            domain,
            since,
        }
    }
}

/// All candidates, first come first.
pub(crate) fn line_up<'a>(mut all: Vec<Candidate<'a>>, facts: &Facts<'a>) -> Vec<Candidate<'a>> {
    let mut ages: BTreeMap<(&str, &str), Instant> = BTreeMap::new();
    for one in all.iter().filter(|one| one.fresh_domain) {
        let age = ages.entry((one.policy, one.domain)).or_insert(one.since);
        *age = one.since.min(*age);
    }
    let by_name = |policy: &str| match facts.policies.get(policy).map(|facts| facts.policy.order) {
        Some(QueueOrder::Name) => true,
        Some(QueueOrder::Oldest) | None => false,
    };
    all.sort_by(|one, other| {
        let key = |one: &Candidate<'a>| {
            let domain = one
                .fresh_domain
                .then(|| (ages.get(&(one.policy, one.domain)).copied(), one.domain));
            (one.policy, one.class, domain)
        };
        let age = |one: &Candidate<'a>| (!by_name(one.policy)).then_some(one.since);
        key(one)
            .cmp(&key(other))
            .then_with(|| age(one).cmp(&age(other)))
            .then_with(|| one.seen.name.cmp(other.seen.name))
    });
    merge(&all)
}

/// Policies take turns by who has waited longest in them, whatever order each has for itself.
fn merge<'a>(sorted: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let runs: Vec<&[Candidate<'a>]> = sorted.chunk_by(|one, other| one.policy == other.policy).collect();
    if let [only] = runs.as_slice() {
        return only.to_vec();
    }
    // The age of a run from each place on: a young node at its head must not hold up older ones behind it.
    let ages: Vec<Vec<Instant>> = runs.iter().map(|run| oldest_from_each_place_on(run)).collect();
    let mut heads = BinaryHeap::new();
    let head = |run: usize, place: usize| Some(Reverse((runs[run].get(place)?.class, ages[run][place], run, place)));
    heads.extend((0..runs.len()).filter_map(|run| head(run, 0)));
    let mut merged = Vec::with_capacity(sorted.len());
    while let Some(Reverse((_, _, run, place))) = heads.pop() {
        merged.push(runs[run][place]);
        heads.extend(head(run, place + 1));
    }
    merged
}

fn oldest_from_each_place_on(run: &[Candidate]) -> Vec<Instant> {
    let mut ages: Vec<Instant> = run.iter().map(|one| one.since).collect();
    for place in (1..run.len()).rev() {
        if run[place - 1].class == run[place].class {
            ages[place - 1] = ages[place - 1].min(ages[place]);
        }
    }
    ages
}
