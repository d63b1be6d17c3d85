//! The operator.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lockkeeper_operator::process::main(lockkeeper_planner::plan).await
}
