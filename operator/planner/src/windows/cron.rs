//! Five fields of cron as bits, and the local times that they name before and after any other.
//!
//! Written here and not taken from a library, because a pass asks for hundreds of occurrences (docs/decisions/0007):
//! nothing is allocated. `tests/rules/calendar.rs` compares it with a walk over every minute.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// The 29th of February may be eight years away (1896 to 1904, 2096 to 2104), and a weekday with it 40.
const LONGEST_SEARCH_YEARS: i32 = 41;

/// A schedule: bit `n` of a field is set if it names the number `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
    /// Whether the hour field is exactly `*`.
    pub(super) every_hour: bool,
}

impl Cron {
    /// Parses five fields with names, ranges (also over the edge: `FRI-MON`), lists and steps; no other extension of cron
    /// is accepted.
    pub(super) fn parse(schedule: &str) -> Result<Self, String> {
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("it has {} fields", fields.len()));
        };
        let weekdays = WEEKDAY.parse(weekday)?;
        // Every day is no restriction, however it is written with a star.
        let any = |text: &str| text.split(',').any(|part| part == "*" || part == "*/1");
        Ok(Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            // 0 and 7 are Sunday.
            weekdays: (weekdays | weekdays >> 7) & 0b111_1111,
            any_day: any(day),
            any_weekday: any(weekday),
            every_hour: *hour == "*",
        })
    }

    /// Whether it names every minute.
    pub(super) fn is_every_minute(&self) -> bool {
        self.every_day() && self.every_hour && self.minutes == up_to(59) && self.months == up_to(12) - 1
    }

    fn every_day(&self) -> bool {
        let (all_days, all_weekdays) = (self.days == up_to(31) - 1, self.weekdays == up_to(6));
        match (self.any_day, self.any_weekday) {
            (false, false) => all_days || all_weekdays,
            (true, true | false) | (false, true) => all_days && all_weekdays,
        }
    }

    /// The latest time named that is not after `local`.
    pub(super) fn latest(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut date = local.date();
        let mut hour = local.hour();
        if self.names(date) {
            let minutes = self.minutes & up_to(local.minute());
            if has(self.hours, hour) && minutes != 0 {
                return time(date, hour, highest(minutes));
            }
            let earlier = self.hours & up_to(hour) & !(1 << hour);
            if earlier != 0 {
                return time(date, highest(earlier), highest(self.minutes));
            }
        }
        let last_year = date.year() - LONGEST_SEARCH_YEARS;
        while date.year() >= last_year {
            date = if has(self.months, date.month()) {
                date.pred_opt()?
            } else {
                date.with_day(1)?.pred_opt()?
            };
            if self.names(date) {
                hour = highest(self.hours);
                return time(date, hour, highest(self.minutes));
            }
        }
        None
    }

    /// The first time named that is after `local`.
    pub(super) fn next(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut date = local.date();
        let hour = local.hour();
        if self.names(date) {
            let minutes = self.minutes & !up_to(local.minute());
            if has(self.hours, hour) && minutes != 0 {
                return time(date, hour, minutes.trailing_zeros());
            }
            let later = self.hours & !up_to(hour);
            if later != 0 {
                return time(date, later.trailing_zeros(), self.minutes.trailing_zeros());
            }
        }
        let last_year = date.year() + LONGEST_SEARCH_YEARS;
        while date.year() <= last_year {
            date = if has(self.months, date.month()) {
                date.succ_opt()?
            } else {
                // The first of a month plus 31 days is in the next one.
                date.with_day(1)?.checked_add_days(Days::new(31))?.with_day(1)?
            };
            if self.names(date) {
                return time(date, self.hours.trailing_zeros(), self.minutes.trailing_zeros());
            }
        }
        None
    }

    /// Day of month and weekday both restricted means either.
    fn names(&self, date: NaiveDate) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().num_days_from_sunday());
        let named = match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            (true, true | false) | (false, true) => day && weekday,
        };
        named && has(self.months, date.month())
    }
}

/// One of the five fields: its place, the numbers that it may have, and their names.
struct Field {
    place: usize,
    first: u32,
    last: u32,
    /// The name of `first`, and those that follow.
    names: &'static [&'static str],
    /// The number before a range begins anew at `first`; of the weekdays 7 is another 0.
    wraps_after: u32,
}

const MINUTE: Field = Field::numbers(1, 0, 59);
const HOUR: Field = Field::numbers(2, 0, 23);
const DAY: Field = Field::numbers(3, 1, 31);
const MONTH: Field = Field {
    names: &MONTHS,
    ..Field::numbers(4, 1, 12)
};
const WEEKDAY: Field = Field {
    names: &WEEKDAYS,
    wraps_after: 6,
    ..Field::numbers(5, 0, 7)
};

impl Field {
    const fn numbers(place: usize, first: u32, last: u32) -> Self {
        Self {
            place,
            first,
            last,
            names: &[],
            wraps_after: last,
        }
    }

    /// The bits that a list names.
    fn parse(&self, text: &str) -> Result<u64, String> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self
                .part(part)
                .ok_or_else(|| format!("\"{part}\" in field {}", self.place))?;
        }
        Ok(bits)
    }

    /// The bits of a star, a number, or a range, with or without a step.
    fn part(&self, part: &str) -> Option<u64> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step_of(step)?)),
            None => (part, None),
        };
        let (from, to) = match (range.split_once('-'), step) {
            (Some((from, to)), _) => (self.number(from)?, self.number(to)?),
            (None, _) if range == "*" => (self.first, self.last),
            // As in CronJob: from there to the end.
            (None, Some(_)) => (self.number(range)?, self.last),
            (None, None) => (self.number(range)?, self.number(range)?),
        };
        let step = step.unwrap_or(1);
        if from <= to {
            return Some(bits_of((from..=to).step_by(step)));
        }
        // FRI-MON or 22-4 goes on at the first number, and the step counts across the edge. A range from the other 0
        // (7-3) begins at the first.
        let before_the_edge = from..=self.wraps_after;
        Some(bits_of(before_the_edge.chain(self.first..=to).step_by(step)))
    }

    /// A number, or a name in upper or lower case.
    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().zip(self.first..);
        let by_name = named
            .filter(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, number)| number);
        let is_number = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = by_name.last().or_else(|| is_number.then(|| text.parse().ok())?);
        number.filter(|number| (self.first..=self.last).contains(number))
    }
}

fn step_of(text: &str) -> Option<usize> {
    text.parse().ok().filter(|step| (1..=99).contains(step))
}

fn bits_of(numbers: impl Iterator<Item = u32>) -> u64 {
    numbers.fold(0, |bits, number| bits | 1 << number)
}

fn time(date: NaiveDate, hour: u32, minute: u32) -> Option<NaiveDateTime> {
    Some(date.and_time(NaiveTime::from_hms_opt(hour, minute, 0)?))
}

fn has(bits: u64, number: u32) -> bool {
    bits & (1 << number) != 0
}

/// The bits 0 to `number`.
fn up_to(number: u32) -> u64 {
    (2 << number) - 1
}

fn highest(bits: u64) -> u32 {
    bits.checked_ilog2().unwrap_or(0)
}
