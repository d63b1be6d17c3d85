//! All tests that need the tools of `make tools`, in one program: linking one for each took minutes.
//!
//! `make e2e TEST=drain` runs the tests of one module. Benchmarks and virtual machines are modules too; hack/test.sh says
//! which of them CI runs.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod bench_drain;
mod bench_scale;
mod bench_size;
mod chart;
mod checks;
mod daemon_sets;
mod dashboard;
mod deadline;
mod docs;
mod drain;
mod drain_policy;
mod eviction_requests;
mod failed;
mod faults;
mod harness;
mod hollow_agents;
mod hooks;
mod images;
mod install;
mod leaders;
mod lease;
mod limits;
mod manifests;
mod meddling;
mod monitoring;
mod notice;
mod notifications;
mod outages;
mod plugin;
mod plugin_drain;
mod recorded_api;
mod restore;
mod rollout;
mod silences;
mod story;
mod uninstall;
mod views;
mod vm_confinement;
mod vm_kexec;
mod vm_rollout;
mod vm_selinux;
mod vm_soft_reboot;
mod windows;
mod workloads;
