//! What the API server holds as the planner's values, and back.
//!
//! [`snapshot`] turns objects, however they were read, into one [`lockkeeper_planner::Snapshot`], and [`KeptSnapshot`]
//! follows their changes; [`convert`] holds the
//! types' ways in both directions; [`states`] holds what preconditions compare; [`guarded`] is what is known of
//! objects that cannot be decoded; [`slim`] is a Node as far as anybody here looks at it. Nothing in here talks or
//! decides, so that the operator and the plugin see the same cluster with the same eyes.

pub mod convert;
mod duration_history;
pub mod guarded;
pub mod handshake;
mod handshake_annotation;
mod hold;
mod kept;
mod managed;
mod node_view;
pub mod notice;
mod observed;
mod policy_views;
pub mod slim;
mod snapshot;
pub mod states;
pub mod static_pod;
pub mod taints;

pub use kept::{Filling, KeptSnapshot, Objects};
pub use managed::{Unmanaged, unmanaged};
pub use observed::{Local, ObservedObjects, UndecodableObjects};
pub use snapshot::snapshot;
