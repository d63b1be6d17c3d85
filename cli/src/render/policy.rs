//! The window and the condition of a policy as text.

use super::line::Line;
use crate::clock::DisplayClock;
use crate::view::{ActionRequired, PolicyView, WindowView};

/// The operator's message if the policy is not Ready.
pub(crate) fn not_ready(policy: &PolicyView, clock: &DisplayClock) -> Option<Line> {
    let action_required = if policy.failed > 0 {
        ActionRequired::Repair
    } else {
        ActionRequired::Manual
    };
    let message = policy.not_ready.as_ref()?;
    Some(Line::new(
        format!("  not ready: {}", clock.localize(message)),
        action_required,
    ))
}

/// The deadline of a policy, its rungs, and its urgent override.
pub(crate) fn deadline(policy: &PolicyView, clock: &DisplayClock) -> Vec<Line> {
    let labelled = [
        ("deadline", &policy.deadline),
        ("rungs", &policy.rungs),
        ("urgent", &policy.urgent),
    ];
    let lines = labelled.into_iter().filter_map(|(label, text)| {
        let text = clock.localize(text.as_ref()?);
        Some(Line::plain(format!("  {label}: {text}")))
    });
    lines.collect()
}

/// Whether nodes of a policy may start now, and until when.
pub(crate) fn window(policy: &PolicyView, clock: &DisplayClock) -> String {
    let window = match policy.window {
        WindowView::Always => "any time".to_owned(),
        WindowView::Open { closes_time: None } => "window open".to_owned(),
        WindowView::Open {
            closes_time: Some(time),
        } => format!("window open, closes {}", clock.time_and_remaining(time)),
        WindowView::Closed { opens_time: None } => "window closed, none scheduled".to_owned(),
        WindowView::Closed { opens_time: Some(time) } => {
            format!("window closed, opens {}", clock.time_and_remaining(time))
        }
        WindowView::Unknown => "window not known yet".to_owned(),
    };
    if policy.suspended {
        format!("suspended, {window}")
    } else {
        window
    }
}
