//! The actuator: publishes logind's answers and what programs say about updates, and executes one order, reboot, for exactly
//! one boot.
//!
//! It runs as root, so it is small: it holds no credential and knows neither TLS nor HTTP nor Kubernetes. It talks to the
//! system bus, and to the agent through the directory of [`lockkeeper_channel`].

#![warn(missing_docs)]

pub mod actuator;
mod bus;
pub mod logind;
pub mod logind_signals;
mod pace;
pub mod reboot_command;
mod rebooter;
mod systemd;
mod updaters;

pub use actuator::{ActuatorConfig, run_actuator};
