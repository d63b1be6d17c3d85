//! The operator: observe, plan, check, execute.

pub mod ahead;
pub mod cache;
pub mod client;
pub mod daemons;
pub mod difference;
pub mod drains;
pub mod events;
pub mod execute;
pub mod health;
pub mod http;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod observe;
pub mod preflights;
pub mod process;
pub mod publish;
pub mod run;
pub mod shutdown;
pub mod tell;
pub mod told;
