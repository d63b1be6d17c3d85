//! From operations to the requests that Alertmanager gets, in paused time.

#![allow(clippy::unwrap_used)]

mod alertmanager;
mod configuration;
mod keeping;
