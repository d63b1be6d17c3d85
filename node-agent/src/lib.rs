//! The node agent: two small programs that share a directory.
//!
//! `agent` talks to the API server and to nobody else: it watches its own `NodeReboot`, sees what the host asks for,
//! decides ([`decide`], pure) and reports. `actuator` holds no credential: it publishes what logind says and obeys one
//! word, reboot, for exactly one boot. What lies between them is [`channel`].

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
pub mod report;
pub mod text;
pub mod watch;

pub use agent::{AgentConfig, run_agent};
pub use host::{Host, HostView};
