//! The harness: a real control plane with hollow or real nodes, all on the loopback, all ending with it.

pub mod audit;
pub mod binaries;
pub mod control_plane;
pub mod helm;
pub mod hollow;
pub mod hollow_agents;
pub mod install;
pub mod pages;
pub mod pki;
pub mod process;
pub mod programs;
pub mod prometheus;
pub mod recorder;
pub mod records;
pub mod renderings;
pub mod scene;
pub mod stack;
pub mod table;
pub mod tokens;
pub mod vm;
pub mod vm_stack;
pub mod workdir;
pub mod workload;
