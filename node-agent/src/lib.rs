//! The node agent: two small programs that share a directory.
//!
//! `agent` talks to the API server only: it watches its own `NodeReboot`, detects whether the host requires a reboot,
//! decides ([`decide`], pure) and reports. `actuator` holds no credential: it publishes logind's answers and executes
//! one order, reboot, for exactly one boot. They communicate through [`channel`].

pub mod actuator;
pub mod agent;
pub mod channel;
pub mod client;
pub mod decide;
pub mod detect;
pub mod directory_host;
pub mod facts;
pub mod host;
pub mod logging;
pub mod logind;
pub mod logind_signals;
pub mod report;
pub mod since;
pub mod text;
pub mod timer;
pub mod watch;

pub use agent::{AgentConfig, run_agent};
pub use host::{Host, HostView};
