//! The story without faults.

use std::time::Duration;

use expect_test::expect;
use lockkeeper_fake_api::Key;

use super::story::{End, Story, in_paused_time};
use super::truth::is_cordoned;

/// When nothing happens any more: `n3` is Failed, and the breaker keeps `n2` from a second attempt.
pub const LENGTH: Duration = Duration::from_mins(5);

/// The story as it goes without faults.
pub fn calm(new: fn() -> Story) -> End {
    in_paused_time(async {
        let mut story = new();
        story.start();
        let crashes = story.run_until(LENGTH).await;
        story.end(crashes)
    })
}

#[test]
fn one_node_reboots_one_is_deferred_and_one_fails() {
    let end = calm(Story::new);
    expect![[r#"
        n1: UpToDate waiting=- boot=n1-boot-2 reboots=1
          cordoned=false operation=false phase=- order=- deferred=null - history=["Succeeded"]
          marks=[]
        n2: Pending waiting=BreakerOpen boot=n2-boot-1 reboots=0
          cordoned=false operation=false phase=- order=- deferred=1 EvictionBlocked history=["Deferred"]
          marks=[]
        n3: Failed waiting=Failed boot=n3-boot-1 reboots=1
          cordoned=true operation=true phase=Failed order=- deferred=null - history=[]
          marks=["cluster-autoscaler.kubernetes.io/scale-down-disabled", "karpenter.sh/do-not-disrupt", "lockkeeper.dev/operation", "node.kubernetes.io/exclude-from-external-load-balancers"]
        lock: ["n3 reboot=true"]
        policy: nodes=3 upToDate=1 pending=1 inProgress=0 failed=1 breaker=Open
        pods: cni-n1 cni-n2 cni-n3 db-2
    "#]].assert_eq(&end.dump);
    assert_eq!(end.problems, Vec::<String>::new());
}

#[test]
fn a_node_that_needs_only_a_soft_reboot_keeps_its_boot_and_ends_like_any_other() {
    let (soft, usual) = (calm(Story::with_soft_reboot), calm(Story::new));
    assert_eq!(soft.problems, Vec::<String>::new());
    assert_eq!(soft.dump, usual.dump.replace("boot=n1-boot-2", "boot=n1-boot-1"));
}

#[test]
fn a_run_repeats_itself_request_by_request() {
    let (first, second) = (calm(Story::new).log, calm(Story::new).log);
    let differs = first.iter().zip(&second).position(|(first, second)| first != second);
    if let Some(at) = differs {
        let from = at.saturating_sub(5);
        panic!("{:#?}\n{:#?}", &first[from..at + 3], &second[from..at + 3]);
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn a_node_waits_uncordoned_for_the_workload_that_it_evicted() {
    in_paused_time(async {
        let mut story = Story::new();
        story.start();
        story.run_until(Duration::from_mins(1)).await;
        let (node, record) = ["nodes", "nodereboots"]
            .map(|plural| story.api.get(&Key::cluster(plural, "n1")).unwrap())
            .into();
        assert!(!is_cordoned(&node));
        let waiting = &record["status"]["waiting"];
        assert_eq!(waiting["reason"], "WorkloadsNotReady", "{waiting}");
    });
}
