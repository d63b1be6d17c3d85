//! A backup of etcd and its restore, as an administrator does both while the API server is stopped.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::ControlPlane;
use crate::process::Process;

impl ControlPlane {
    /// Copies the data of etcd. The API server is away in the meantime.
    pub async fn back_up(&mut self) -> Result<()> {
        let script = "rm -rf etcd-backup && cp -a etcd etcd-backup";
        self.while_stopped(script).await.context("back up etcd")
    }

    /// Puts the backup in the place of etcd's data: the versions of all objects go back.
    ///
    /// Neither `--bump-revision` nor `--mark-compacted` is used, as by an administrator who has not read the runbook.
    pub async fn restore(&mut self) -> Result<()> {
        let script = "rm -rf etcd && cp -a etcd-backup etcd";
        self.while_stopped(script).await.context("restore etcd")
    }

    /// Runs a script in the directory of the cluster while API server and etcd are stopped.
    async fn while_stopped(&mut self, script: &str) -> Result<()> {
        self.stop_api_server();
        let etcd = self.others.last_mut().context("etcd runs")?;
        etcd.kill();
        let status = Command::new("sh").args(["-ec", script]).current_dir(&self.dir).status();
        ensure!(status.context("run sh")?.success(), "{script}");
        self.others.last_mut().map_or(Ok(()), Process::restart)?;
        self.start_api_server().await
    }
}
