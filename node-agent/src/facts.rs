//! Facts about the kernel and the operating system.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_channel::text::{NAME, fit};

/// The files to read; a container sees its host's kernel in `/proc`.
#[derive(Clone, Debug)]
pub struct FactPaths {
    /// The kernel's id of the present boot.
    pub boot_id: PathBuf,
    /// For how long the host has been up.
    pub uptime: PathBuf,
    /// The host's own `os-release`.
    pub os_release: PathBuf,
}

/// A boot time that moves by less than this is unchanged: the clock is being corrected.
pub(crate) const CLOCK_DRIFT: TimeDelta = TimeDelta::seconds(30);

/// What stays the same for a whole boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFacts {
    /// The operating system's name for itself.
    pub os: String,
    /// The running kernel's release.
    pub kernel: String,
    /// The words of `ID` and `ID_LIKE`, such as `rocky`, `rhel`, `fedora`; empty if they cannot be read.
    pub distribution: Vec<String>,
}

/// Reads the facts; one that cannot be read stays empty, as no decision depends on it.
pub fn kernel_facts(paths: &FactPaths) -> KernelFacts {
    let os_release = read(&paths.os_release).unwrap_or_default();
    KernelFacts {
        os: value(&os_release, "PRETTY_NAME")
            .map(|name| fit(name, NAME))
            .unwrap_or_default(),
        distribution: distribution(&os_release),
        kernel: read("/proc/sys/kernel/osrelease".as_ref())
            .map(|text| fit(&text, NAME))
            .unwrap_or_default(),
    }
}

/// Reads when the kernel booted; the known time is kept unless the clock was set in the meantime.
pub fn boot_time(before: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    let now = read("/proc/stat".as_ref()).and_then(|text| parse_boot_time(&text));
    same_or_new(before, now)
}

/// The known time, unless the other one differs by more than a clock drifts.
pub(crate) fn same_or_new(before: Option<DateTime<Utc>>, now: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (before, now) {
        (Some(before), Some(now)) if (now - before).abs() >= CLOCK_DRIFT => Some(now),
        (Some(before), _) => Some(before),
        (None, now) => now,
    }
}

fn parse_boot_time(stat: &str) -> Option<DateTime<Utc>> {
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    DateTime::from_timestamp(seconds.trim().parse().ok()?, 0)
}

fn distribution(os_release: &str) -> Vec<String> {
    let words = ["ID", "ID_LIKE"].map(|key| value(os_release, key).unwrap_or_default());
    let words = words.iter().flat_map(|words| words.split_whitespace());
    words.map(str::to_owned).collect()
}

fn value<'a>(os_release: &'a str, key: &str) -> Option<&'a str> {
    let of_key = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    let value = os_release.lines().find_map(of_key)?;
    Some(value.trim().trim_matches(['"', '\'']))
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path)
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "not reported"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_time_comes_from_the_kernel() {
        let time = parse_boot_time("cpu  1 2 3\nintr 4\nbtime 1795000000\nprocesses 5\n").unwrap();
        assert_eq!(time.timestamp(), 1_795_000_000);
        assert_eq!(parse_boot_time("cpu  1 2 3\n"), None);
    }

    #[test]
    fn clock_drift_keeps_the_boot_time_and_a_clock_change_moves_it() {
        let at = |second| DateTime::from_timestamp(second, 0);
        assert_eq!(same_or_new(at(1000), at(1001)), at(1000));
        assert_eq!(same_or_new(at(1000), at(8200)), at(8200));
        assert_eq!(same_or_new(at(1000), None), at(1000));
        assert_eq!(same_or_new(None, at(1000)), at(1000));
    }

    #[test]
    fn the_name_of_the_system_has_no_quotes() {
        let text = "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(value(text, "PRETTY_NAME"), Some("Debian GNU/Linux 13 (trixie)"));
    }

    #[test]
    fn a_distribution_is_known_by_its_own_name_and_those_of_its_relatives() {
        let text = "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=9\n";
        assert_eq!(distribution(text), ["rocky", "rhel", "centos", "fedora"]);
        assert_eq!(distribution("ID=arch\n"), ["arch"]);
        assert_eq!(distribution("garbage"), [""; 0]);
    }

    #[test]
    fn this_kernel_provides_all_facts() {
        let facts = kernel_facts(&FactPaths {
            boot_id: "/proc/sys/kernel/random/boot_id".into(),
            uptime: "/proc/uptime".into(),
            os_release: "/etc/os-release".into(),
        });
        assert!(boot_time(None).is_some_and(|time| time < Utc::now()));
        assert!(!facts.kernel.is_empty() && !facts.os.is_empty(), "{facts:?}");
    }
}
