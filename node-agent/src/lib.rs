//! The node agent: the part of its pod that talks to the API server.
//!
//! It watches its own `NodeReboot`, detects whether the host requires a reboot, decides ([`decide`], pure) and reports. The
//! actuator, in the other container, reboots the host; they communicate through the directory of [`lockkeeper_channel`].

pub mod agent;
pub mod client;
pub mod decide;
pub mod detect;
pub mod directory_host;
pub mod facts;
pub mod host;
pub mod report;
pub mod sandbox;
pub mod since;
pub mod text;

pub use agent::{AgentConfig, run_agent};
pub use host::{Host, HostView};
