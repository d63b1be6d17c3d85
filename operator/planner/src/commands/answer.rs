//! What a person reads after a command: one sentence a variant.

use std::fmt;

use lockkeeper_reasons::format_time;

use crate::Instant;
use crate::snapshot::Phase;

/// The operator's answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommandAnswer {
    /// `retry` was accepted; the agent is asked again.
    PreparedAgain,
    /// `retry` was accepted; the node has rebooted in the meantime.
    VerifiedAgain,
    /// `release` was accepted.
    Released,
    /// `cancel` was accepted.
    Aborted,
    /// The node has no operation.
    NoOperation,
    /// The command names another operation than the current one.
    OtherOperation { current: String, named: String },
    /// The outcome of the operation is decided already.
    AlreadyEnding { message: String },
    /// `retry` of a reconstructed operation, before the agent has reported.
    AgentUnconfirmed { until: Instant },
    /// `retry` of a reconstructed operation whose reboot is in progress.
    RebootInProgress { order: String, until: Instant },
    /// `retry` or `release` of a node that is not Failed.
    NotFailed { phase: Phase },
    /// `cancel` of a node that is Failed.
    AlreadyFailed,
    /// `cancel` after the reboot was ordered.
    RebootOrdered,
    /// The command is none of the three.
    UnknownVerb { verb: String },
}

impl fmt::Display for CommandAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreparedAgain => f.write_str("the node is prepared again"),
            Self::VerifiedAgain => f.write_str("the node has a new boot ID; its health is checked again"),
            Self::Released => f.write_str("slot released; node uncordoned"),
            Self::Aborted => f.write_str("operation aborted; the node is deferred"),
            Self::NoOperation => f.write_str("no operation is in progress on this node; nothing to do"),
            Self::OtherOperation { current, named } => write!(f, "the current operation is {current}, not {named}"),
            Self::AlreadyEnding { message } => write!(f, "the operation is already ending: {message}"),
            Self::AgentUnconfirmed { until } => write!(
                f,
                "the record of the reboot was lost and the agent has not confirmed whether a reboot is in progress; retry \
                 after its next report or after {}, or release the node",
                format_time(*until)
            ),
            Self::RebootInProgress { order, until } => write!(
                f,
                "the host accepted order {order} and is rebooting; retry when it is back or after {}, or release the node",
                format_time(*until)
            ),
            Self::NotFailed { phase } => write!(
                f,
                "the node is {phase:?}, not Failed; use cancel to abort before the reboot is ordered"
            ),
            Self::AlreadyFailed => f.write_str("the node is Failed; retry or release it"),
            Self::RebootOrdered => f.write_str("the reboot is already ordered and cannot be cancelled"),
            Self::UnknownVerb { verb } => write!(f, "\"{verb}\" is not a command; use retry, release or cancel"),
        }
    }
}

/// One sample of every answer to a command, for the golden file of messages: the command with its result, and the answer.
pub fn command_answer_samples() -> Vec<(String, String)> {
    let until = Instant::from_timestamp(1_795_554_000, 0).unwrap_or_default();
    let all = [
        ("retry accepted", CommandAnswer::PreparedAgain),
        ("retry accepted", CommandAnswer::VerifiedAgain),
        ("release accepted", CommandAnswer::Released),
        ("cancel accepted", CommandAnswer::Aborted),
        ("retry refused", CommandAnswer::NoOperation),
        (
            "retry refused",
            CommandAnswer::OtherOperation {
                current: "7f3c".to_owned(),
                named: "5a10".to_owned(),
            },
        ),
        (
            "release refused",
            CommandAnswer::AlreadyEnding {
                message: "cancelled by a person".to_owned(),
            },
        ),
        ("retry refused", CommandAnswer::AgentUnconfirmed { until }),
        (
            "retry refused",
            CommandAnswer::RebootInProgress {
                order: "7f3c-0".to_owned(),
                until,
            },
        ),
        ("release refused", CommandAnswer::NotFailed { phase: Phase::Draining }),
        ("cancel refused", CommandAnswer::AlreadyFailed),
        ("cancel refused", CommandAnswer::RebootOrdered),
        (
            "refused",
            CommandAnswer::UnknownVerb {
                verb: "stop".to_owned(),
            },
        ),
    ];
    let render = |(command, answer): (&str, CommandAnswer)| (command.to_owned(), answer.to_string());
    all.into_iter().map(render).collect()
}
