//! The harness: a real control plane with hollow or real nodes, all on the loopback, all ending with it.

pub mod process;
