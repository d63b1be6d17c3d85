//! What is drained, and what may be asked at most.

/// One kind of node.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Replica sets.
    pub(crate) sets: usize,
    /// Pods of each.
    pub(crate) pods: usize,
    pub(crate) obstacle: Obstacle,
    /// How many seconds a pod takes to shut down, and to get ready.
    pub(crate) shutdown: u32,
    pub(crate) startup: f32,
    /// The seconds that no drain can beat.
    pub(crate) bound: f32,
    pub(crate) gate: Gate,
}

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    None,
    /// Each set has a budget of one at a time.
    OneAtATime,
    /// The budget has no room for 65 s.
    Blocked,
}

/// What our command may ask at most; more fails the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    None,
    Requests(usize),
    /// While the pod is blocked.
    RequestsAMinute(usize),
}

const fn plain(name: &'static str, pods: usize, shutdown: u32, gate: Gate) -> Case {
    Case {
        name,
        sets: 1,
        pods,
        obstacle: Obstacle::None,
        shutdown,
        startup: 0.5,
        bound: shutdown as f32,
        gate,
    }
}

pub(crate) const CASES: [Case; 6] = [
    plain("10 pods, 2 s", 10, 2, Gate::None),
    plain("50 pods, 2 s", 50, 2, Gate::None),
    plain("110 pods, 2 s", 110, 2, Gate::Requests(140)),
    plain("110 pods, 30 s", 110, 30, Gate::Requests(140)),
    // The last pod of a set need not be ready elsewhere: nine waits of 3 s, then one shutdown.
    Case {
        name: "10 x 10, one at a time",
        sets: 10,
        pods: 10,
        obstacle: Obstacle::OneAtATime,
        shutdown: 1,
        startup: 3.0,
        bound: 28.0,
        gate: Gate::Requests(300),
    },
    Case {
        name: "1 pod, blocked for 65 s",
        sets: 1,
        pods: 1,
        obstacle: Obstacle::Blocked,
        shutdown: 2,
        startup: 0.5,
        bound: 67.0,
        gate: Gate::RequestsAMinute(6),
    },
];
