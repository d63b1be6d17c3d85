//! The program `kubectl-lockkeeper`, which kubectl runs as `kubectl lockkeeper`.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    kubectl_lockkeeper::run().await
}
