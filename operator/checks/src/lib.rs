//! The checks of a policy: each looks at one source and says what fails there.
//!
//! A check that cannot be evaluated is an [`Error`] with its source and the remedy; what that means is the policy's choice
//! (`onError`). Nothing is decided or remembered here.

#![warn(missing_docs)]

mod asked_node;
mod check;
mod error;
mod expression;
mod finding;
mod http;
mod job;
mod node_conditions;
mod object;
mod pods;
mod prometheus;
mod server;
mod sources;

pub use asked_node::AskedNode;
pub use check::Evaluator;
pub use error::Error;
pub use expression::{Expressions, evaluate_from_stdin};
