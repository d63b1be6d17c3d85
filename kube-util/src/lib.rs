//! What operator, drain engine, node agent and plugin share when they talk to the API server.
//!
//! [`http_service`] connects, and notices a peer that is gone; [`patient_service`] is for watches. [`WatchBackoff`] is the
//! backoff of a failing watch, and [`relisting_watcher`] and [`restartable_watch`] are watches that list again.
//! [`GuardedApi`] decodes objects one by one. [`Clock`] tells the time of day. [`error_chain`] and [`explain`] turn errors
//! into one line for people. [`bounded`] and [`printable`] clean text of foreign origin. [`patch_params`] and
//! [`post_params`] name the field manager. [`label_value`] and [`stable_hash`] shorten what is too long for a label or a name.

#![warn(missing_docs)]

mod backoff;
mod clock;
mod connection;
mod debug;
mod error;
mod guarded;
mod labels;
mod params;
mod patient;
mod watching;

pub use backoff::{WatchBackoff, jitter};
pub use clock::{Clock, ClockOffset};
pub use connection::{HttpService, connector, http_service, http_service_over};
pub use debug::Opaque;
pub use error::{Remedies, error_chain, explain};
pub use guarded::{Guarded, GuardedApi, Rest, Undecodable};
pub use labels::{label_value, stable_hash};
pub use lockkeeper_text::{bounded, is_printable, printable, single_line};
pub use params::{patch_params, post_params};
pub use patient::{Patient, is_watch, patient_service};
pub use watching::{Events, relisting_watcher, restartable_watch};
