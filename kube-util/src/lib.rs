//! What operator, drain engine, node agent and plugin share when they talk to the API server.
//!
//! [`Clock`] tells the time of day. [`WatchBackoff`] is the backoff of a failing watch. [`error_chain`] and [`explain`]
//! turn errors into one line for people. [`bounded`] fits text into a field of limited length. [`patch_params`] and
//! [`post_params`] name the field manager.

#![warn(missing_docs)]

mod backoff;
mod clock;
mod debug;
mod error;
mod params;

pub use backoff::{WatchBackoff, jitter};
pub use clock::Clock;
pub use debug::Opaque;
pub use error::{Remedies, error_chain, explain};
pub use lockkeeper_text::{bounded, single_line};
pub use params::{patch_params, post_params};
