//! Log lines, for people or for machines.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Unless `RUST_LOG` says otherwise. kube's own lines are left out: what fails is said once, in words, by us.
const DEFAULT: &str = "info,kube_runtime=off,kube_client=off";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line of text each.
    #[default]
    Text,
    /// One JSON object each.
    Json,
}

/// Writes log lines to standard error from now on; `RUST_LOG` chooses which.
pub fn start(format: Format) -> Result<(), LoggingError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(rules) if !rules.is_empty() => EnvFilter::try_new(&rules).map_err(|error| LoggingError::Rules {
            rules,
            cause: error.to_string(),
        })?,
        _ => EnvFilter::new(DEFAULT),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        Format::Text => lines.with_target(false).try_init(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
    }
    .map_err(|error| LoggingError::Twice(error.to_string()))
}

/// Logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` makes no sense.
    #[error("RUST_LOG={rules} makes no sense: {cause}; try RUST_LOG=info")]
    Rules {
        /// As given.
        rules: String,
        /// What is wrong.
        cause: String,
    },
    /// It has begun already.
    #[error("logging was started twice: {0}")]
    Twice(String),
}
