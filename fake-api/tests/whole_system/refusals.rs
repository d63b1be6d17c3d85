//! A write that is refused for ever: it delays the node that it is about, and no other one.

use lockkeeper_fake_api::{Refusal, Request, Verb};

use super::calm::{LENGTH, calm};
use super::end::section;
use super::story::{End, Story, in_paused_time};

/// Which writes are refused.
type Filter = fn(&Request) -> bool;

const RECORD: &str = "the record of n1";

const REFUSED: [(&str, Filter); 6] = [
    ("the cordon of n1", |request| of_operator(request, "nodes", "n1")),
    (RECORD, |request| of_operator(request, "nodereboots", "n1")),
    ("the eviction of the pod of n1", |request| {
        request.verb == Verb::Evict && request.name == "web-1"
    }),
    ("the reports of n1", |request| {
        request.client.starts_with("agent-n1/") && request.verb.writes()
    }),
    ("the status of the policy", |request| {
        of_operator(request, "rebootpolicies", "all")
    }),
    ("Events", |request| request.resource.plural == "events"),
];

fn of_operator(request: &Request, plural: &str, name: &str) -> bool {
    request.client.starts_with("operator/")
        && request.verb.writes()
        && request.resource.plural == plural
        && request.name == name
}

fn with_refusal(refuses: Filter) -> End {
    in_paused_time(async {
        let mut story = Story::new();
        let refusal = || {
            Refusal::new(
                403,
                "Forbidden",
                "admission webhook \"freeze\" denied the request: not today",
            )
        };
        story.api.add_admission(move |request| refuses(request).then(refusal));
        story.start();
        story.run_until(LENGTH).await;
        story.end(0)
    })
}

#[test]
fn a_write_that_is_refused_for_ever_delays_its_own_node_only() {
    let calm = calm(Story::new);
    for (what, refuses) in REFUSED {
        let end = with_refusal(refuses);
        let log = || end.log.join("\n");
        // A record that cannot be written cannot say why its node waits.
        let mut problems = end.problems.clone();
        problems.retain(|problem| what != RECORD || problem != "n1 is - without a wait reason");
        assert_eq!(problems, Vec::<String>::new(), "{what}\n{}\n{}", end.dump, log());
        for node in ["n2", "n3"] {
            assert_eq!(section(&end.dump, node), section(&calm.dump, node), "{what}\n{}", log());
        }
    }
}
