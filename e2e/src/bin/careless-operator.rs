//! `careless-operator`: the operator with a planner that has a bug. It forgets the windows; what stands behind it must
//! refuse its plans, and tell.

use std::process::ExitCode;

use lockkeeper_planner::{Instant, Plan, Schedule, Snapshot, plan};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lockkeeper_operator::process::main(careless).await
}

/// Plans as if every policy were open at all times.
fn careless(snapshot: &Snapshot, now: Instant) -> Plan {
    let mut misread = snapshot.clone();
    for policy in misread.policies.values_mut() {
        policy.schedule = Ok(Schedule::default());
    }
    plan(&misread, now)
}
