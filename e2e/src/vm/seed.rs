//! The seed disk: what makes the one disk image this node, as a plain tar archive on a block device.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::pki::Identity;

/// What one node needs to know to join the cluster.
#[derive(Debug)]
pub(super) struct Seed<'a> {
    /// The API server's port on the host's loopback.
    pub(super) api_port: u16,
    /// The kubelet's port, the same in the guest and on the host.
    pub(super) kubelet_port: u16,
    /// The addresses of this node's pods.
    pub(super) pod_cidr: String,
    /// The node's own credential, with the API server as the guest sees it.
    pub(super) kubeconfig: String,
    /// The cluster's authority, PEM.
    pub(super) ca: &'a str,
    /// What the kubelet serves `kubectl logs` and `exec` with.
    pub(super) serving: Identity,
    /// Image archives that are in containerd before the kubelet starts.
    pub(super) images: &'a [PathBuf],
}

impl Seed<'_> {
    /// Writes the disk of node `name` into `dir` and returns its path.
    pub(super) fn write(&self, dir: &Path, name: &str) -> Result<PathBuf> {
        let tree = dir.join(format!("{name}-seed"));
        let images = tree.join("images");
        fs::create_dir_all(&images).with_context(|| format!("create {}", images.display()))?;
        let (api, kubelet, pods) = (self.api_port, self.kubelet_port, &self.pod_cidr);
        let list = self.copy_images(&images)?;
        let files = [
            (
                "node.env",
                format!("API_PORT={api}\nKUBELET_PORT={kubelet}\nPOD_CIDR={pods}\n"),
            ),
            ("kubeconfig", self.kubeconfig.clone()),
            ("ca.crt", self.ca.to_owned()),
            ("kubelet.crt", self.serving.certificate.clone()),
            ("kubelet.key", self.serving.key.clone()),
            ("images.list", list),
        ];
        for (name, content) in &files {
            fs::write(tree.join(name), content).with_context(|| format!("write the seed's {name}"))?;
        }
        let disk = dir.join(format!("{name}-seed.tar"));
        // The small files come first: the guest seeks over the images on every boot after the first.
        let mut tar = Command::new("tar");
        tar.arg("--create")
            .arg("--file")
            .arg(&disk)
            .arg("--directory")
            .arg(&tree);
        tar.args(files.iter().map(|(name, _)| *name)).arg("images");
        run(&mut tar)?;
        fs::remove_dir_all(&tree).context("remove the seed's tree")?;
        Ok(disk)
    }

    /// Copies the archives and returns the list the guest compares with what it imported last.
    fn copy_images(&self, to: &Path) -> Result<String> {
        let mut list = String::new();
        for archive in self.images {
            let name = file_name(archive)?;
            fs::copy(archive, to.join(name)).with_context(|| format!("copy image {}", archive.display()))?;
            let sum = run(Command::new("sha256sum").arg(archive))?;
            let digest = sum.split_whitespace().next().unwrap_or_default();
            writeln!(list, "{digest} {name}")?;
        }
        Ok(list)
    }
}

/// The last part of a path, as text.
pub(super) fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} names no file", path.display()))
}

/// Runs a short host command to its end and returns what it printed.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed no text"))
}
