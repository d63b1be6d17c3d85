use chrono::{DateTime, Utc};

use super::*;

fn at(text: &str) -> Instant {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

fn window(schedule: &str, hours: f64, zone: &str) -> Window {
    Window::parse(schedule, (hours * 3600.0) as i64, zone).unwrap()
}

fn check(windows: &[Window], now: &str, expected: &str) {
    let schedule = Schedule {
        windows: windows.to_vec(),
        exclusions: vec![],
    };
    let text = match schedule.opening(at(now)) {
        Opening::Excluded { .. } => "excluded".to_owned(),
        Opening::Open { closes } => format!("open until {}", closes.map_or("ever".to_owned(), |t| t.to_rfc3339())),
        Opening::Closed { opens } => {
            format!("closed until {}", opens.map_or("ever".to_owned(), |t| t.to_rfc3339()))
        }
    };
    assert_eq!(text.replace("+00:00", "Z"), expected, "at {now}");
}

#[test]
fn no_window_is_always_open() {
    check(&[], "2026-11-21T11:00:00Z", "open until ever");
}

#[test]
fn a_window_belongs_to_its_start_and_is_half_open() {
    let nights = [window("0 22 * * MON-THU", 6.0, "UTC")];
    check(&nights, "2026-11-19T21:59:59Z", "closed until 2026-11-19T22:00:00Z");
    check(&nights, "2026-11-19T22:00:00Z", "open until 2026-11-20T04:00:00Z");
    // Thursday's window reaches into Friday; Friday opens none.
    check(&nights, "2026-11-20T03:59:59Z", "open until 2026-11-20T04:00:00Z");
    check(&nights, "2026-11-20T04:00:00Z", "closed until 2026-11-23T22:00:00Z");
}

#[test]
fn overlapping_and_touching_windows_are_one() {
    let two = [window("0 1 * * *", 2.0, "UTC"), window("0 3 * * *", 1.0, "UTC")];
    check(&two, "2026-11-21T01:30:00Z", "open until 2026-11-21T04:00:00Z");
    check(
        &[window("* * * * *", 0.02, "UTC")],
        "2026-11-21T01:30:00Z",
        "open until ever",
    );
}

#[test]
fn a_start_that_spring_forward_skips_opens_after_the_gap() {
    let window = [window("30 2 * * *", 1.0, "Europe/Berlin")];
    check(&window, "2026-03-29T00:59:59Z", "closed until 2026-03-29T01:00:00Z");
    check(&window, "2026-03-29T01:00:00Z", "open until 2026-03-29T02:00:00Z");
}

#[test]
fn a_repeated_hour_opens_once_when_it_is_named_and_twice_when_it_is_not() {
    // 2026-10-25: 03:00 CEST becomes 02:00 CET, so 02:30 is at 00:30Z and at 01:30Z.
    let named = [window("30 2 * * *", 0.25, "Europe/Berlin")];
    check(&named, "2026-10-25T00:30:00Z", "open until 2026-10-25T00:45:00Z");
    check(&named, "2026-10-25T00:45:00Z", "closed until 2026-10-26T01:30:00Z");
    let every = [window("30 * * * *", 0.25, "Europe/Berlin")];
    check(&every, "2026-10-25T00:45:00Z", "closed until 2026-10-25T01:30:00Z");
}

#[test]
fn the_length_is_elapsed_time() {
    let window = [window("0 0 * * *", 6.0, "Europe/Berlin")];
    check(&window, "2026-03-29T03:00:00Z", "open until 2026-03-29T05:00:00Z");
}

#[test]
fn day_of_month_and_weekday_both_given_means_either() {
    let window = [window("0 0 13 * FRI", 1.0, "UTC")];
    check(&window, "2026-11-12T12:00:00Z", "closed until 2026-11-13T00:00:00Z");
    check(&window, "2026-11-13T12:00:00Z", "closed until 2026-11-20T00:00:00Z");
    check(&window, "2026-12-11T12:00:00Z", "closed until 2026-12-13T00:00:00Z");
}

#[test]
fn a_day_that_never_comes_never_opens() {
    check(
        &[window("0 0 31 FEB *", 1.0, "UTC")],
        "2026-11-12T12:00:00Z",
        "closed until ever",
    );
}

#[test]
fn what_the_contract_does_not_name_is_refused() {
    for schedule in [
        "@daily",
        "0 0 L * *",
        "0 0 * * 5L",
        "0 0 * * 5#2",
        "0 0 15W * *",
        "0 0 0 * * *",
        "0 0 * *",
        "61 0 * * *",
        "? 0 * * *",
        "",
        "60 0 * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 32 * *",
        "0 0 * 0 *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "*/0 * * * *",
        "1/2/3 * * * *",
        "1-2-3 * * * *",
        "*-5 * * * *",
        "0 0 * * MON,,TUE",
        "0 0 * * mond",
        "0 0 * * *-MON",
        "0 22-24 * * *",
        "0 0 0-3 * *",
        "-1 0 * * *",
        "+1 0 * * *",
        "0 0 * * MON-",
        "0 0 JAN * *",
        "1.5 0 * * *",
        "007 0 * * *",
    ] {
        let refused = Window::parse(schedule, 3600, "UTC");
        assert!(
            matches!(refused, Err(WindowError::Schedule { .. })),
            "{schedule}: {refused:?}"
        );
    }
    assert_eq!(
        Window::parse("0 0 * * 8", 3600, "UTC").unwrap_err().to_string(),
        "schedule \"0 0 * * 8\" is not five fields of cron: \"8\" in field 5"
    );
    assert_eq!(
        Window::parse("0 0 * * *", 3600, "Mars/Base"),
        Err(WindowError::Zone("Mars/Base".to_owned()))
    );
    assert_eq!(Window::parse("0 0 * * *", 59, "UTC"), Err(WindowError::Duration(59)));
}

#[test]
fn names_ranges_lists_and_steps_are_those_of_cron_jobs() {
    // 2026-11-01 is a Sunday.
    let opens = |schedule: &str| {
        let schedule = Schedule {
            windows: vec![Window::parse(schedule, 60, "UTC").unwrap()],
            exclusions: vec![],
        };
        let spans = schedule.openings(at("2026-11-01T00:00:00Z"), at("2026-11-10T00:00:00Z"), 6);
        let spans = spans.iter().map(|span| span.opens.format("%a %d %H:%M").to_string());
        spans.collect::<Vec<_>>().join(", ")
    };
    for (schedule, expected) in [
        (
            "0 0 * * FRI-SUN",
            "Sun 01 00:00, Fri 06 00:00, Sat 07 00:00, Sun 08 00:00",
        ),
        ("0 0 * * 5-7", "Sun 01 00:00, Fri 06 00:00, Sat 07 00:00, Sun 08 00:00"),
        (
            "0 0 * * SUN-MON",
            "Sun 01 00:00, Mon 02 00:00, Sun 08 00:00, Mon 09 00:00",
        ),
        ("0 0 * * 0,7", "Sun 01 00:00, Sun 08 00:00"),
        // Both restricted: either. A star with step 1 restricts nothing, one with a larger step does.
        ("0 0 3 * MON", "Mon 02 00:00, Tue 03 00:00, Mon 09 00:00"),
        ("0 0 */1 * MON", "Mon 02 00:00, Mon 09 00:00"),
        (
            "0 0 */4 * MON",
            "Sun 01 00:00, Mon 02 00:00, Thu 05 00:00, Mon 09 00:00",
        ),
        // From there to the end, and a list with a star.
        ("40/15 23 1 * *", "Sun 01 23:40, Sun 01 23:55"),
        ("0 5-9/3,22 2 NOV *", "Mon 02 05:00, Mon 02 08:00, Mon 02 22:00"),
        ("0 0 2,* * MON", "Mon 02 00:00, Mon 09 00:00"),
        ("0 0 * nov mon,Wed", "Mon 02 00:00, Wed 04 00:00, Mon 09 00:00"),
    ] {
        assert_eq!(opens(schedule), expected, "{schedule}");
    }
}

#[test]
fn a_range_over_the_edge_goes_on_at_the_beginning() {
    let named = |schedule: &str, from: &str, until: &str| {
        let schedule = Schedule {
            windows: vec![Window::parse(schedule, 60, "UTC").unwrap()],
            exclusions: vec![],
        };
        let spans = schedule.openings(at(from), at(until), 400);
        let spans = spans.iter().map(|span| span.opens.format("%m-%d %a %H:%M").to_string());
        spans.collect::<Vec<_>>()
    };
    // 2026-11-02 is a Monday.
    let week = |schedule: &str| {
        let days = named(schedule, "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z");
        days.iter()
            .map(|day| day[6..9].to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (weekdays, expected) in [
        ("FRI-MON", "Mon Fri Sat Sun"),
        ("fri-mon", "Mon Fri Sat Sun"),
        ("5-1", "Mon Fri Sat Sun"),
        ("5-0", "Fri Sat Sun"),
        ("SAT-FRI", "Mon Tue Wed Thu Fri Sat Sun"),
        ("7-2", "Mon Tue Sun"),
        ("7-SUN", "Sun"),
        ("THU-TUE/2", "Mon Thu Sat"),
    ] {
        assert_eq!(week(&format!("0 0 * * {weekdays}")), expected, "{weekdays}");
    }
    let hours = named("0 22-4 * * *", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z");
    let hours: Vec<&str> = hours.iter().map(|hour| &hour[10..12]).collect();
    assert_eq!(hours, ["00", "01", "02", "03", "04", "22", "23"]);
    let months = named("0 1 1 NOV-FEB *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let months: Vec<&str> = months.iter().map(|month| &month[..2]).collect();
    assert_eq!(months, ["01", "02", "11", "12"]);
    let days = named("0 0 30-2 10 *", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z");
    let days: Vec<&str> = days.iter().map(|day| &day[3..5]).collect();
    assert_eq!(days, ["01", "02", "30", "31"]);
    let minutes = named("50-10/10 0 * * *", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z");
    let minutes: Vec<&str> = minutes.iter().map(|minute| &minute[13..]).collect();
    assert_eq!(minutes, ["00", "10", "50"]);
}

#[test]
fn leap_days_month_ends_and_midnight_are_what_the_calendar_says() {
    let leap = [window("0 0 29 FEB *", 48.0, "UTC")];
    check(&leap, "2026-03-01T00:00:00Z", "closed until 2028-02-29T00:00:00Z");
    check(&leap, "2028-03-01T12:00:00Z", "open until 2028-03-02T00:00:00Z");
    // 2100 is no leap year.
    check(&leap, "2096-03-10T00:00:00Z", "closed until 2104-02-29T00:00:00Z");
    let end = [window("30 23 31 * *", 1.0, "America/New_York")];
    check(&end, "2026-11-02T12:00:00Z", "closed until 2027-01-01T04:30:00Z");
    check(&end, "2027-01-01T05:00:00Z", "open until 2027-01-01T05:30:00Z");
}

#[test]
fn a_close_is_right_to_the_second_however_many_occurrences_carry_on() {
    check(
        &[window("* 1-5 * * *", 0.025, "UTC")],
        "2026-11-21T01:30:00Z",
        "open until 2026-11-21T06:00:30Z",
    );
}
