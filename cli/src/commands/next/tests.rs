use chrono::FixedOffset;
use expect_test::{Expect, expect};

use super::*;
use crate::fixture::{clock, time};

const NOW: &str = "2026-11-24T21:48:00Z";

fn ask(yaml: &str, from: &str, until: &str) -> Result<Next, Failure> {
    let specs = file::parse(yaml).map_err(Failure::error)?;
    let args = NextArgs {
        policy: None,
        file: None,
        from: Some(time(from)),
        until: Some(time(until)),
        output: None,
    };
    next(&specs, &args, time(NOW))
}

fn policy(spec: &str) -> String {
    format!("apiVersion: lockkeeper.dev/v1alpha1\nkind: RebootPolicy\nmetadata: {{name: workers}}\nspec: {spec}\n")
}

fn shows(yaml: &str, from: &str, until: &str, expected: &Expect) {
    let lines = render(&ask(yaml, from, until).unwrap(), &clock(NOW));
    let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    expected.assert_eq(&lines.join("\n"));
}

fn refuses(yaml: &str, expected: &Expect) {
    let failure = ask(yaml, NOW, "2026-12-01T00:00:00Z").unwrap_err();
    expected.assert_eq(&failure.message);
}

const NIGHTS: &str = r#"
  windows: [{schedule: "0 22 * * MON-THU", durationSeconds: 21600, timeZone: Europe/Berlin}]
  exclusions: [{from: "2026-11-25T23:00:00Z", until: "2026-11-26T01:00:00Z", reason: release}]"#;

#[test]
fn each_opening_is_shown_in_the_readers_zone_and_in_the_policys() {
    shows(
        &policy(NIGHTS),
        NOW,
        "2026-11-28T00:00:00Z",
        &expect![[r#"
        workers   4 openings from 21:48 to Sat 00:00
          21:48 (open now) to Wed 03:00, 5 h 12 min   window "0 22 * * MON-THU" Europe/Berlin for 6 h; Tue 22:48 to Wed 04:00 Europe/Berlin
          Wed 21:00 (in 23 h 12 min) to Wed 23:00, 2 h   window "0 22 * * MON-THU" Europe/Berlin for 6 h; Wed 22:00 to Thu 00:00 Europe/Berlin
          Thu 01:00 (in 1 d 3 h) to Thu 03:00, 2 h   exclusion ends: release; Thu 02:00 to Thu 04:00 Europe/Berlin
          Thu 21:00 (in 1 d 23 h) to Fri 03:00, 6 h   window "0 22 * * MON-THU" Europe/Berlin for 6 h; Thu 22:00 to Fri 04:00 Europe/Berlin"#]],
    );
}

#[test]
fn a_policy_without_windows_is_one_opening_between_its_exclusions() {
    shows(
        &policy("{}"),
        NOW,
        "2026-11-25T00:00:00Z",
        &expect![[r#"
        workers   1 opening from 21:48 to Wed 00:00
          21:48 (open now) to Wed 00:00 or later, 2 h 12 min   no windows: always open"#]],
    );
    let freeze = r#"{exclusions: [{from: "2026-11-20T00:00:00Z", until: "2026-12-20T00:00:00Z"}], suspend: true}"#;
    shows(
        &policy(freeze),
        NOW,
        "2026-11-25T00:00:00Z",
        &expect!["workers   no opening from 21:48 to Wed 00:00; the policy is suspended, so no node starts"],
    );
}

#[test]
fn an_opening_that_has_closed_is_past_and_not_open_now() {
    shows(
        &policy(NIGHTS),
        "2026-11-23T12:00:00Z",
        "2026-11-25T12:00:00Z",
        &expect![[r#"
        workers   2 openings from Mon 12:00 to Wed 12:00
          Mon 21:00 (past) to 03:00, 6 h   window "0 22 * * MON-THU" Europe/Berlin for 6 h; Mon 22:00 to Tue 04:00 Europe/Berlin
          21:00 (open now) to Wed 03:00, 6 h   window "0 22 * * MON-THU" Europe/Berlin for 6 h; Tue 22:00 to Wed 04:00 Europe/Berlin"#]],
    );
    shows(
        &policy(NIGHTS),
        "2026-04-01T12:00:00Z",
        "2026-04-02T01:00:00Z",
        &expect![[r#"
        workers   1 opening from 2026-04-01 12:00 to 2026-04-02 01:00
          2026-04-01 20:00 (past) to 2026-04-02 01:00 or later, 5 h   window "0 22 * * MON-THU" Europe/Berlin for 6 h; Wed 22:00 to Thu 03:00 Europe/Berlin"#]],
    );
    shows(
        &policy("{}"),
        "2026-11-24T12:00:00Z",
        "2026-11-24T21:48:00Z",
        &expect![[r#"
        workers   1 opening from 12:00 to 21:48
          12:00 (past) to 21:48 or later, 9 h 48 min   no windows: always open"#]],
    );
}

#[test]
fn json_has_both_ends_of_each_opening() {
    let next = ask(&policy(NIGHTS), NOW, "2026-11-26T12:00:00Z").unwrap();
    expect![[r#"
        {
          "from": "2026-11-24T21:48:00Z",
          "until": "2026-11-26T12:00:00Z",
          "policies": [
            {
              "name": "workers",
              "suspended": false,
              "timeZones": [
                "Europe/Berlin"
              ],
              "truncated": false
            }
          ],
          "openings": [
            {
              "policy": "workers",
              "opens": "2026-11-24T21:48:00Z",
              "closes": "2026-11-25T03:00:00Z",
              "cause": "window \"0 22 * * MON-THU\" Europe/Berlin for 6 h"
            },
            {
              "policy": "workers",
              "opens": "2026-11-25T21:00:00Z",
              "closes": "2026-11-25T23:00:00Z",
              "cause": "window \"0 22 * * MON-THU\" Europe/Berlin for 6 h"
            },
            {
              "policy": "workers",
              "opens": "2026-11-26T01:00:00Z",
              "closes": "2026-11-26T03:00:00Z",
              "cause": "exclusion ends: release"
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&next).unwrap());
}

#[test]
fn the_policys_zone_is_hidden_if_it_is_the_readers() {
    let berlin = DisplayClock {
        now: time(NOW),
        offset: |_| FixedOffset::east_opt(3_600).unwrap(),
    };
    let lines = render(&ask(&policy(NIGHTS), NOW, "2026-11-25T12:00:00Z").unwrap(), &berlin);
    expect![[r#"  22:48 (open now) to Wed 04:00, 5 h 12 min   window "0 22 * * MON-THU" Europe/Berlin for 6 h"#]]
        .assert_eq(&lines[1].text);
}

#[test]
fn a_file_may_have_several_policies_and_objects_of_other_kinds() {
    let text = format!(
        "{}---\nkind: Namespace\napiVersion: v1\n---\n{}",
        policy("{}"),
        policy("{}").replace("workers", "b")
    );
    let names: Vec<String> = file::parse(&text).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["workers", "b"]);
}

#[test]
fn an_invalid_file_is_one_line_with_field_and_remedy() {
    refuses(
        "{a: [",
        &expect!["not YAML: did not find expected node content at line 2 column 1, while parsing a flow node"],
    );
    refuses("kind: Namespace\n", &expect!["it contains no RebootPolicy"]);
    refuses(
        &policy("{windows: 3}"),
        &expect![
            "RebootPolicy workers: spec.windows: invalid type: integer `3`, expected a sequence; see: kubectl explain rbp.spec"
        ],
    );
    refuses(
        &policy(r#"{window: [{schedule: "0 1 * * *", durationSeconds: 60}]}"#),
        &expect!["RebootPolicy workers: there is no field spec.window; see: kubectl explain rbp.spec"],
    );
    for empty in ["[]", "{}", "null", "''", "false"] {
        refuses(
            &policy(&format!("{{window: {empty}}}")),
            &expect!["RebootPolicy workers: there is no field spec.window; see: kubectl explain rbp.spec"],
        );
    }
    refuses(
        &policy("{drain: {rules: [{podSelecter: {}}]}}"),
        &expect![
            "RebootPolicy workers: there is no field spec.drain.rules[0].podSelecter; see: kubectl explain rbp.spec.drain.rules"
        ],
    );
    refuses(
        &policy("{}").replace("spec:", "specs:"),
        &expect!["RebootPolicy workers: there is no field specs; see: kubectl explain rbp"],
    );
    refuses(
        &policy(r#"{windows: [{schedule: "0 1 * * *", durationSeconds: 60, timezone: Europe/Berlin}]}"#),
        &expect![
            "RebootPolicy workers: there is no field spec.windows[0].timezone; see: kubectl explain rbp.spec.windows"
        ],
    );
    refuses(
        &policy(r#"{windows: [{schedule: "0 1 * * *", durationSeconds: 60, timeZone: Europe/Berlim}]}"#),
        &expect![[
            r#"RebootPolicy workers: spec.windows[0]: timeZone "Europe/Berlim" is not an IANA time zone such as Europe/Berlin"#
        ]],
    );
    refuses(
        &policy(r#"{windows: [{schedule: "0 1 * *", durationSeconds: 60}]}"#),
        &expect![[
            r#"RebootPolicy workers: spec.windows[0]: schedule "0 1 * *" is not five fields of cron: it has 4 fields"#
        ]],
    );
    refuses(
        &policy(r#"{exclusions: [{from: "2026-12-18"}]}"#),
        &expect![
            "RebootPolicy workers: spec.exclusions[0].from: premature end of input; see: kubectl explain rbp.spec.exclusions"
        ],
    );
    let failure = ask(&policy("{}"), NOW, NOW).unwrap_err();
    assert_eq!(failure.exit, crate::failure::Exit::Usage);
}

#[test]
fn windows_that_touch_are_one_opening() {
    let weekdays = policy(r#"{windows: [{schedule: "* * * * MON-FRI", durationSeconds: 60}]}"#);
    let next = ask(&weekdays, "2026-11-21T12:00:00Z", "2026-11-30T12:00:00Z").unwrap();
    let spans: Vec<String> = next
        .openings
        .iter()
        .map(|span| format!("{} to {}", span.opens.format("%F %R"), span.closes.format("%F %R")))
        .collect();
    assert_eq!(
        spans,
        [
            "2026-11-23 00:00 to 2026-11-28 00:00",
            "2026-11-30 00:00 to 2026-11-30 12:00"
        ]
    );
}
