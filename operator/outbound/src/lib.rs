//! Requests of the operator to servers that an administrator names: Prometheus, Alertmanager, webhooks, HTTP checks.
//!
//! Whoever may write the URL chooses where the operator sends a request, and the operator reaches more than its users do.
//! So a request follows no redirect, uses no proxy of the environment, carries no credential but the target's own, and
//! goes to no address at which machines of a cloud get their credentials ([`Refused`]). Its time and the size of its
//! answer are limited, and errors name the step without showing a [`Secret`].

#![warn(missing_docs)]

mod address;
mod client;
mod error;
mod exchange;
mod file;
mod secret;
mod target;
mod tls;
mod url;

pub use address::Refused;
pub use client::{Client, Limits};
pub use error::{Error, Step};
pub use exchange::Response;
pub use file::{TargetFields, decode, decode_value, read_text};
pub use secret::Secret;
pub use target::{Credential, Target};
pub use tls::InvalidCaBundle;
pub use url::{InvalidUrl, Url};
