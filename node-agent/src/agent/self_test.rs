//! Whether the API server confines the agent to the report of its own node, and when that is tested.
//!
//! The admission policy, or its binding, may be missing or deleted later. A test is one request that must be refused. It is
//! made when the agent starts, unless a reboot was ordered right before, and with each Prepare: so it is younger than any
//! cordon, and an idle agent costs nothing.
//! While the agent is not confined the test is repeated, because no node starts meanwhile.
//! A test without a verdict, of an API server that is away or restarts, is repeated with each attempt to report: a reboot
//! that is being prepared would be withdrawn for it.

use std::time::Duration;

use lockkeeper_crds::{HostReport, OrderState};

use super::retry::Retry;
use crate::report::{Confinement, ReportError};
use crate::text::describe;

/// The first delay before a test that did not show that the agent is confined is repeated, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));

/// The last result, and when it is tested again.
#[derive(Debug)]
pub(super) struct SelfTest {
    pub(super) confinement: Confinement,
    pub(super) retry: Retry,
    /// The order for which it was tested; `None` before the first test.
    tested_for: Option<String>,
    /// Whether the last test gave no verdict, and no report has said so yet.
    unsettled: bool,
}

impl SelfTest {
    pub(super) fn new(node: &str) -> Self {
        Self {
            confinement: Confinement::default(),
            retry: Retry::new(BACKOFF, node),
            tested_for: None,
            unsettled: false,
        }
    }

    /// After a reboot that the operator ordered, the test that was made for its Prepare a few minutes ago still counts.
    pub(super) fn adopt(&mut self, reported: Option<&HostReport>, boot_id: &str) {
        let Some(reported) = reported.filter(|reported| self.tested_for.is_none() && reported.boot_id != boot_id)
        else {
            return;
        };
        let rebooted = reported
            .order
            .as_ref()
            .filter(|order| order.state == OrderState::Rebooting);
        if let Some(order) = rebooted.filter(|_| reported.confined == Some(true)) {
            self.tested_for = Some(order.id.clone());
            self.confinement = Confinement::confined();
        }
    }

    /// Whether a test is due before the next report. `prepare` is the order of that kind, if there is one.
    pub(super) fn is_due(&self, prepare: Option<&str>) -> bool {
        let Some(tested_for) = &self.tested_for else {
            return true;
        };
        let new_order = prepare.is_some_and(|order| order != tested_for);
        self.unsettled || new_order || self.retry.at.is_some() && self.retry.is_due()
    }

    /// Whether the last test gave no verdict, and no report has said so yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// A report with the last result was written.
    pub(super) fn reported(&mut self) {
        self.unsettled = false;
    }

    /// Keeps the result of a test.
    pub(super) fn record(&mut self, prepare: Option<&str>, result: Result<bool, ReportError>) {
        if prepare.is_some() || self.tested_for.is_none() {
            self.tested_for = Some(prepare.unwrap_or_default().to_owned());
        }
        self.unsettled = matches!(result, Err(ReportError::Failed(..) | ReportError::NoAnswer(_)));
        let confinement = match result {
            Ok(true) => Confinement::confined(),
            Ok(false) => Confinement::not_confined(),
            Err(error) => Confinement::unknown(&describe(&error.into())),
        };
        if confinement.confined == Some(true) {
            self.retry.reset();
        } else {
            self.retry.back_off();
        }
        if confinement != self.confinement {
            if confinement.confined == Some(true) {
                tracing::info!("the admission policy confines this agent");
            } else {
                tracing::warn!("{}", confinement.message);
            }
        }
        self.confinement = confinement;
    }
}
