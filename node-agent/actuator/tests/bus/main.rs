//! The actuator on a real D-Bus daemon of its own, with stand-ins for logind, `update_engine` and rpm-ostree
//! behind it.
//!
//! What real logind does is seen on real nodes; here are the refusals that a healthy node never gives.

// Helpers are not tests in clippy's eyes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    unreachable_pub
)]

mod bench;
mod command;
mod facts;
mod logind;
mod orders;
mod soft_reboots;
mod update_engine;
mod updates;
