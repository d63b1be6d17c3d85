//! All that the detectors saw, as the report shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_channel::text::{NAME, fit};
use lockkeeper_crds::RebootRequired;
use lockkeeper_crds::host::{Cause, DetectorReport, DetectorState};

use super::Detected;
use super::detector::{BootSpan, Finding, Look, Scope};
use super::files::explain;

/// The largest number of reasons that the custom resource accepts.
pub(super) const MAX_REASONS: usize = 32;
/// The largest number of failing detectors, and of detectors, that the custom resource accepts.
const MAX_DETECTORS: usize = 16;
/// The longest list of detectors that the custom resource accepts.
const MAX_SOURCE_LENGTH: usize = 128;

/// What the detectors saw so far.
pub(super) struct Findings {
    boot: BootSpan,
    since: Option<DateTime<Utc>>,
    sources: Vec<String>,
    /// Whether all that was found concerns the userspace only.
    userspace_only: bool,
    reasons: BTreeSet<String>,
    failing: BTreeSet<String>,
    detectors: Vec<DetectorReport>,
    look_again: Option<Duration>,
}

impl Findings {
    pub(super) fn new(boot: BootSpan) -> Self {
        Self {
            boot,
            since: None,
            sources: Vec::new(),
            userspace_only: true,
            reasons: BTreeSet::new(),
            failing: BTreeSet::new(),
            detectors: Vec::new(),
            look_again: None,
        }
    }

    /// Adds what a detector saw.
    pub(super) fn add(&mut self, detector: &str, look: Look) {
        let (mut reasons, mut failing) = (Vec::new(), Vec::new());
        for seen in look.seen {
            match seen.finding {
                Ok(None) => {}
                Ok(Some(finding)) if self.boot.is_fulfilled(finding.scope) => {}
                Ok(Some(finding)) => {
                    let (because, problem) = self.require(&seen.source, finding);
                    reasons.extend(because);
                    failing.extend(problem);
                }
                Err(error) => failing.push(format!("{} cannot be read: {}", seen.source, explain(&error))),
            }
        }
        let state = match (failing.is_empty(), reasons.is_empty()) {
            (false, _) => DetectorState::Failing,
            (true, false) => DetectorState::Required,
            (true, true) => DetectorState::NotRequired,
        };
        let message = if failing.is_empty() { &reasons } else { &failing };
        self.detectors.push(DetectorReport {
            name: fit(detector, DetectorReport::MAX_NAME),
            state,
            message: fit(&message.join(", "), NAME),
        });
        for problem in &failing {
            self.fail(problem);
        }
        self.look_again = self.look_again.into_iter().chain(look.look_again).min();
    }

    /// Adds a source that requires a reboot; answers its reasons, and why they cannot be read.
    fn require(&mut self, source: &str, finding: Finding) -> (Vec<String>, Option<String>) {
        let since = self.boot.credible(finding.since);
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
        self.sources.push(source.to_owned());
        self.userspace_only &= finding.scope != Scope::Host && finding.reasons.is_ok();
        let (reasons, problem) = match finding.reasons {
            Ok(reasons) => (reasons, None),
            Err(error) => {
                let (file, error) = (finding.file, explain(&error));
                let problem = format!("{source} requires a reboot, but {file} cannot be read: {error}");
                (Vec::new(), Some(problem))
            }
        };
        let reasons = reasons.iter().map(|reason| fit(reason, NAME));
        let mut reasons: Vec<String> = reasons.filter(|reason| !reason.is_empty()).collect();
        if reasons.is_empty() {
            reasons.push(fit(&finding.signal, NAME));
        }
        self.reasons.extend(reasons.iter().cloned());
        (reasons, problem)
    }

    /// Adds a problem that makes it unknown whether a reboot is required.
    pub(super) fn fail(&mut self, what: &str) {
        self.failing.insert(fit(what, NAME));
    }

    pub(super) fn into_detected(mut self) -> Detected {
        self.detectors.truncate(MAX_DETECTORS);
        let required = RebootRequired {
            required: self.since.is_some(),
            userspace_only: self.since.is_some() && self.userspace_only && self.failing.is_empty(),
            since: self.since,
            reasons: self.reasons.into_iter().take(MAX_REASONS).map(Cause).collect(),
            source: fit(&self.sources.join(", "), MAX_SOURCE_LENGTH),
            failing: self.failing.into_iter().take(MAX_DETECTORS).map(Cause).collect(),
            detectors: self.detectors,
        };
        Detected {
            required,
            look_again: self.look_again,
        }
    }
}
