//! Kernel releases such as `6.12.43+deb13-amd64`: which are of one kind, and which is newer.

use std::cmp::Ordering;

/// Words that distributions put into every release of theirs. They do not tell one kind of kernel from another.
const DISTRIBUTION_TAGS: [&str; 9] = ["amzn", "azl", "bpo", "cm", "deb", "el", "fc", "lp", "rc"];

/// A release, split into what makes its kind and what makes its age.
///
/// The kind is the sequence of words, such as `generic` or `cloud amd`: a kernel of another kind is installed beside the
/// running one, not in its place. The numbers, in their order, tell which of two releases of one kind is newer. That holds
/// for Debian (`6.12.43+deb13-amd64`), Ubuntu (`6.8.0-45-generic`), Fedora and RHEL (`5.14.0-503.14.1.el9_5.x86_64`), SUSE
/// (`6.4.0-150600.23.25-default`), Amazon Linux, Arch and kernels of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release {
    kind: Vec<String>,
    numbers: Vec<u64>,
}

impl Release {
    /// `None` if the text does not begin with a version of the kernel, or a number in it is too large.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let (mut kind, mut numbers) = (Vec::new(), Vec::new());
        for run in runs(text) {
            if run.starts_with(|first: char| first.is_ascii_digit()) {
                numbers.push(run.parse().ok()?);
            } else if !DISTRIBUTION_TAGS.contains(&run) {
                kind.push(run.to_owned());
            }
        }
        (numbers.len() >= 2).then_some(Self { kind, numbers })
    }

    /// Whether this is a newer kernel of the same kind.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.is_like(other) && self.numbers.cmp(&other.numbers) == Ordering::Greater
    }

    /// Whether both are of one kind.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// The runs of digits and of letters, without what is between them.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|separator: char| !separator.is_ascii_alphanumeric());
    parts.flat_map(|part| {
        part.as_bytes()
            .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
            .filter_map(|run| std::str::from_utf8(run).ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<`, `>`, `=`, or `|` for releases of different kinds.
    fn compare(a: &str, b: &str) -> char {
        let (a, b) = (Release::parse(a).unwrap(), Release::parse(b).unwrap());
        match (a.is_like(&b), a.is_newer_than(&b), b.is_newer_than(&a)) {
            (false, false, false) => '|',
            (true, false, true) => '<',
            (true, true, false) => '>',
            (true, false, false) => '=',
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn releases_of_each_distribution_are_ordered() {
        for (older, newer) in [
            ("6.1.0-9-amd64", "6.1.0-26-amd64"),
            ("6.1.0-26-cloud-amd64", "6.1.0-28-cloud-amd64"),
            ("6.1.0-26-amd64", "6.12.43+deb13-amd64"),
            ("6.12.9+bpo-amd64", "6.12.12+bpo-amd64"),
            ("6.8.0-45-generic", "6.8.0-106-generic"),
            ("5.15.0-1071-aws", "6.8.0-1016-aws"),
            ("5.14.0-503.11.1.el9_5.x86_64", "5.14.0-503.14.1.el9_5.x86_64"),
            ("5.14.0-503.14.1.el9_5.x86_64", "5.14.0-570.12.1.el9_6.x86_64"),
            ("6.11.4-301.fc41.x86_64", "6.12.4-200.fc41.x86_64"),
            ("5.15.0-206.153.7.el9uek.x86_64", "5.15.0-302.167.6.el9uek.x86_64"),
            ("6.4.0-150600.21-default", "6.4.0-150600.23.25-default"),
            ("6.1.112-122.189.amzn2023.x86_64", "6.1.115-126.197.amzn2023.x86_64"),
            ("6.10.3-arch1-1", "6.10.3-arch1-2"),
            ("6.6.54-flatcar", "6.6.60-flatcar"),
            ("6.6.51+rpt-rpi-v8", "6.6.62+rpt-rpi-v8"),
            ("6.13.0-rc3-amd64", "6.13.0-rc7-amd64"),
        ] {
            assert_eq!(compare(older, newer), '<', "{older} {newer}");
            assert_eq!(compare(newer, older), '>', "{older} {newer}");
        }
    }

    #[test]
    fn another_kind_of_kernel_is_neither_newer_nor_older() {
        for (a, b) in [
            ("6.1.0-26-amd64", "6.1.0-28-cloud-amd64"),
            ("6.1.0-26-amd64", "6.1.0-28-rt-amd64"),
            ("6.8.0-45-generic", "6.8.0-1016-aws"),
            ("5.14.0-503.11.1.el9_5.x86_64", "5.14.0-570.12.1.el9_6.x86_64+debug"),
            ("5.14.0-503.11.1.el9_5.x86_64", "5.15.0-206.153.7.el9uek.x86_64"),
            ("6.4.0-150600.21-default", "6.4.0-150600.23.25-kvmsmall"),
            ("6.10.3-arch1-1", "6.10.4-zen1-1-zen"),
        ] {
            assert_eq!(compare(a, b), '|', "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_release_is_not_compared() {
        for text in ["", "extra", "6", "v6.1", "99999999999999999999.1"] {
            assert_eq!(Release::parse(text), None, "{text}");
        }
    }
}
