//! The table of wait reasons in `docs/concepts.md` and the alert's list of reasons, both from the reason table.

use expect_test::expect_file;
use lockkeeper_crds::reasons::ReasonName;
use lockkeeper_e2e::install::repository;

use super::alerts;

const BEGIN: &str = "<!-- wait-reasons:begin (generated: make generate) -->";
const END: &str = "<!-- wait-reasons:end -->";

#[test]
fn the_table_of_wait_reasons_is_the_one_in_the_code() {
    let path = repository().join("docs/concepts.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let rows = ReasonName::ALL.map(|reason| {
        let (meaning, actor) = (reason.meaning(), reason.actor().as_str());
        format!("| `{reason}` | {meaning} | {actor} |\n")
    });
    let table = format!("| reason | meaning | who acts |\n|---|---|---|\n{}", rows.concat());
    expect_file![path].assert_eq(&format!("{before}{BEGIN}\n{table}{END}{after}"));
}

#[test]
fn the_alert_for_blocked_reboots_counts_the_reasons_that_need_a_person() {
    let mut reasons: Vec<&str> = ReasonName::ALL
        .into_iter()
        .filter(|reason| reason.alerts())
        .map(ReasonName::as_str)
        .collect();
    reasons.sort_unstable();
    let listed = &alerts()["LockkeeperRebootBlocked"]["params"]["reasons"];
    assert_eq!(
        listed.as_str(),
        Some(reasons.join("|").as_str()),
        "params.reasons in charts/lockkeeper/files/alerts.yaml"
    );
}
