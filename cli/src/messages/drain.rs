//! The sentences of `drain`.

use chrono::TimeDelta;
use lockkeeper_drain::{Blocker, PodName, Progress, group_by_cause};

use super::{Samples, sample};
use crate::clock::DisplayClock;
use crate::commands::drain::cordon::Uncordoned;
use crate::commands::drain::result::{NodeResult, Outcome};
use crate::commands::drain::{messages, ownership};
use crate::commands::report::outlook;

pub(super) fn samples(clock: &DisplayClock) -> Samples {
    let node = "w-02";
    let source = "policy workers";
    let waiting_on = group_by_cause(vec![Blocker::Terminating {
        pod: PodName::new("shop", "web-0"),
        until: clock.now + TimeDelta::seconds(30),
        grace: 30,
    }]);
    let running = Progress::Running {
        to_move: 3,
        moved: 2,
        remaining: 1,
        with_empty_dir: 0,
        waiting_tiers: Vec::new(),
        evicting: true,
        grace_ends: None,
        returning: Vec::new(),
        waiting_on,
        pods: Vec::new(),
    };
    let drained = NodeResult {
        seconds: 26.0,
        moved: 3,
        stayed: 2,
        with_empty_dir: 1,
        still_attached: vec!["pv-7".to_owned()],
        ..NodeResult::unchanged(node, None, Outcome::Drained, String::new())
    };
    let mut all = vec![
        sample("drain", messages::cordoned(node, source, (3, 2))),
        sample("drain", messages::drained(&drained) + &messages::stays_cordoned(node)),
        sample("drain", messages::drained(&drained) + messages::UNCORDONED_MEANWHILE),
        sample(
            "report",
            outlook::may_return("CloneSet.apps.kruise.io shop/set", &["shop/set-0".to_owned()]),
        ),
        sample(
            "report",
            outlook::long_grace("policy workers", 900, true, 3600, &["shop/broker-0".to_owned()]),
        ),
        sample(
            "report",
            outlook::long_grace("policy workers", 900, false, 3600, &["shop/broker-0".to_owned()]),
        ),
        sample("drain, refused", ownership::refused(node, "7f3c").message),
        sample(
            "drain, blocked",
            messages::blocked(
                node,
                source,
                &["pod shop/pet: no controller would recreate it".to_owned()],
            ),
        ),
        sample("drain, blocked", messages::unchanged("w-03")),
        sample("drain, not started", messages::not_started(node)),
        sample("drain --dry-run", messages::not_checked("w-03")),
        sample("drain, timed out", messages::timed_out(node, 900, &running, clock)),
        sample("drain, stopped", messages::stopped(node, &running, clock)),
        sample("drain, stopped", messages::STOPPING),
        sample("drain, stopped", messages::STOPPED_AT_ONCE),
        sample("drain, stopped", messages::STOPPED_EARLY),
        sample("drain, failed", messages::uncordoned_by_other(node)),
        sample("drain, afterwards", messages::cordon_of_earlier_run(node)),
        sample("drain --cancel", messages::cancelled(node, None)),
    ];
    for uncordoned in [
        Uncordoned::Schedulable,
        Uncordoned::CordonedByOther,
        Uncordoned::Deleted,
    ] {
        all.push(sample("drain, afterwards", messages::after_failure(uncordoned)));
        all.push(sample("drain --cancel", messages::cancelled(node, Some(uncordoned))));
    }
    all
}
