//! Faults of each kind, over some seeds: no safety rule is broken while they last, and the work is finished after them.

use std::collections::BTreeMap;
use std::time::Duration;

use lockkeeper_fake_api::{Delivery, FakeApi, Fault, FaultFn, Refusal, Request};
use tokio::time::sleep;

use super::rng::Rng;
use super::story::{End, Story, in_paused_time, tell};

/// How long the faults last.
const FAULTS: Duration = Duration::from_mins(6);
/// When everything that can be finished is finished: each retry and each back-off of a node has had its time.
const LENGTH: Duration = Duration::from_mins(45);
/// How many seeds each kind has, unless the variable `SEED` names one; the variable `KIND` names the only kind.
const SEEDS: u64 = 3;
/// How many of a thousand requests go wrong.
const PER_MILLE: usize = 150;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reset,
    LostReply,
    Hang,
    Silence,
    Late,
    Conflict,
    Invalid,
    TooManyRequests,
    TooManyRequestsWithTime,
    InternalError,
    GatewayTimeout,
    WatchesEnd,
    WatchesBreak,
    VersionsExpire,
    EventsCoalesce,
    EventsRepeat,
    EventsLate(&'static str),
    Outages,
    /// One of the above for each request, while watches break and events are late.
    Everything,
}

const KINDS: [Kind; 22] = [
    Kind::Reset,
    Kind::LostReply,
    Kind::Hang,
    Kind::Silence,
    Kind::Late,
    Kind::Conflict,
    Kind::Invalid,
    Kind::TooManyRequests,
    Kind::TooManyRequestsWithTime,
    Kind::InternalError,
    Kind::GatewayTimeout,
    Kind::WatchesEnd,
    Kind::WatchesBreak,
    Kind::VersionsExpire,
    Kind::EventsCoalesce,
    Kind::EventsRepeat,
    Kind::EventsLate("nodes"),
    Kind::EventsLate("pods"),
    Kind::EventsLate("nodereboots"),
    Kind::EventsLate("rebootlocks"),
    Kind::Outages,
    Kind::Everything,
];

impl Kind {
    /// What becomes of a request that this kind is about.
    fn fault(self, request: &Request, rng: &mut Rng) -> Option<Fault> {
        let writes = request.verb.writes();
        match self {
            Self::Reset => Some(Fault::Reset),
            Self::LostReply => Some(Fault::LostReply),
            Self::Hang => Some(Fault::Hang),
            Self::Silence => Some(Fault::Silence),
            Self::Late => Some(Fault::Late(Duration::from_millis(rng.next() % 5000))),
            Self::Conflict => writes.then(|| refused(409, "Conflict", None)),
            Self::Invalid => writes.then(|| refused(422, "Invalid", None)),
            Self::TooManyRequests => Some(refused(429, "TooManyRequests", None)),
            Self::TooManyRequestsWithTime => Some(refused(429, "TooManyRequests", Some(3))),
            Self::InternalError => Some(refused(500, "InternalError", None)),
            Self::GatewayTimeout => Some(refused(504, "Timeout", None)),
            Self::Everything => {
                let kind = rng.pick(&KINDS[..11]);
                kind.fault(request, rng)
            }
            Self::WatchesEnd
            | Self::WatchesBreak
            | Self::VersionsExpire
            | Self::EventsCoalesce
            | Self::EventsRepeat
            | Self::EventsLate(_)
            | Self::Outages => None,
        }
    }

    fn delivery(self) -> Delivery {
        let late = |plural| BTreeMap::from([(plural, Duration::from_secs(5))]);
        match self {
            Self::EventsCoalesce => Delivery {
                delays: late("nodereboots"),
                coalesces: true,
                repeats: false,
            },
            Self::EventsRepeat => Delivery {
                repeats: true,
                ..Delivery::default()
            },
            Self::EventsLate(plural) => Delivery {
                delays: late(plural),
                ..Delivery::default()
            },
            Self::Everything => Delivery {
                delays: late("pods"),
                coalesces: true,
                repeats: true,
            },
            _ => Delivery::default(),
        }
    }

    /// Disturbs the watches now and then.
    async fn disturb(self, api: FakeApi, mut rng: Rng) {
        loop {
            sleep(Duration::from_millis(rng.between(2000, 12_000) as u64)).await;
            match self {
                Self::WatchesEnd => api.end_watches(None, false),
                Self::WatchesBreak | Self::Everything => api.end_watches(None, true),
                Self::VersionsExpire => {
                    api.compact();
                    api.end_watches(None, false);
                    // The next versions are gone as well before the watches go on.
                    api.compact();
                }
                Self::Outages => {
                    api.set_faults(Some(Box::new(|_| Some(Fault::Reset))));
                    api.end_watches(None, true);
                    sleep(Duration::from_millis(rng.between(1000, 40_000) as u64)).await;
                    api.set_faults(None);
                }
                _ => {}
            }
        }
    }
}

fn refused(code: u16, reason: &'static str, retry_after: Option<u64>) -> Fault {
    Fault::Refused(Refusal {
        retry_after,
        ..Refusal::new(code, reason, "a fault of the test")
    })
}

/// The story with faults of one kind.
fn with_faults(kind: Kind, seed: u64) -> End {
    in_paused_time(async {
        let mut story = Story::new();
        let mut rng = Rng::new(seed);
        let disturbance = tokio::spawn(kind.disturb(story.api.clone(), Rng::new(seed + 1000)));
        let faults: FaultFn = Box::new(move |request| {
            if rng.chance(PER_MILLE) {
                kind.fault(request, &mut rng)
            } else {
                None
            }
        });
        story.api.set_delivery(kind.delivery());
        story.api.set_faults(Some(faults));
        story.start();
        story.run_until(FAULTS).await;
        disturbance.abort();
        story.api.set_faults(None);
        story.api.set_delivery(Delivery::default());
        // Watches that deliver late go on doing so.
        story.api.end_watches(None, false);
        story.run_until(LENGTH).await;
        story.end(0)
    })
}

#[test]
fn no_fault_breaks_a_safety_rule_or_leaves_a_node_behind() {
    let chosen: Option<u64> = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
    let named = std::env::var("KIND").ok();
    let mut runs = 0;
    for kind in KINDS
        .into_iter()
        .filter(|kind| named.as_ref().is_none_or(|name| *name == format!("{kind:?}")))
    {
        for seed in chosen.map_or(0..SEEDS, |seed| seed..seed + 1) {
            let end = with_faults(kind, seed);
            let log = || end.log.join("\n");
            assert_eq!(
                end.problems,
                Vec::<String>::new(),
                "{kind:?}, seed {seed}\n{}\n{}",
                end.dump,
                log()
            );
            runs += 1;
        }
    }
    tell(&format!("{runs} runs with faults"));
}
