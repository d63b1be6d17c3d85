//! The operator: observe, plan, check, execute.

pub mod cache;
pub mod client;
pub mod lease;
pub mod slim;
