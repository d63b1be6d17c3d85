//! An API server in memory, for tests: no socket, no real time, and each fault on demand.
//!
//! ```text
//! kube client --request--> Request::parse --> fault? --> admission --> handle --> Store, Watchers --> observers
//! ```
//!
//! It serves the kinds that Lockkeeper reads or writes, as far as Lockkeeper uses them: versions and their conflicts, uid
//! preconditions, lists in pages, selectors, watches with bookmarks, merge patches, server-side apply with owners of
//! fields, subresources, evictions under budgets, finalizers and owners. It validates no schema and sets no defaults, and
//! knows no rights but what a test refuses. `tests/recorded` compares its answers with those of a real server.

#![warn(missing_docs)]

mod answer;
mod apply;
mod evict;
pub mod exchanges;
mod fault;
mod fields;
mod handle;
mod list;
mod merge;
mod refuse;
mod request;
mod resources;
mod selection;
mod server;
mod state;
mod store;
mod watch;
mod write;

pub use answer::Refusal;
pub use fault::{Fault, FaultFn};
pub use merge::{merge, merged};
pub use request::{Request, Verb};
pub use resources::{RESOURCES, Resource};
pub use server::{CrashFilter, FakeApi, Observer};
pub use state::Written;
pub use store::{Key, Store};
pub use watch::Delivery;
