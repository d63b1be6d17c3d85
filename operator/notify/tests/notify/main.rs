//! From a file and Events to the requests that a receiver gets, in paused time.

#![allow(clippy::unwrap_used)]

mod configuration;
mod delivery;
mod formats;
mod page;
mod world;
