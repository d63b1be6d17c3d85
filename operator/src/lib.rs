//! The operator: observe, plan, check, execute.

pub mod cache;
pub mod client;
pub mod convert;
pub mod difference;
pub mod drains;
pub mod execute;
pub mod lease;
pub mod observe;
pub mod publish;
pub mod run;
pub mod slim;
pub mod tell;
