//! The seed disk: what makes the one disk image this node, as a plain tar archive on a block device.

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
        fs::create_dir_all(&tree).with_context(|| format!("create {}", tree.display()))?;
        let (api, kubelet, pods) = (self.api_port, self.kubelet_port, &self.pod_cidr);
        let files = [
            (
                "node.env",
                format!("API_PORT={api}\nKUBELET_PORT={kubelet}\nPOD_CIDR={pods}\n"),
            ),
            ("kubeconfig", self.kubeconfig.clone()),
            ("ca.crt", self.ca.to_owned()),
            ("kubelet.crt", self.serving.certificate.clone()),
            ("kubelet.key", self.serving.key.clone()),
            ("images.json", merge_images(self.images, &tree)?),
        ];
        for (name, content) in &files {
            fs::write(tree.join(name), content).with_context(|| format!("write the seed's {name}"))?;
        }
        let disk = dir.join(format!("{name}-seed.tar"));
        // The small files come first: the guest seeks over the images on every boot after the first.
        let members = files.iter().map(|(name, _)| *name).chain(["images.tar"]);
        archive(&disk, &tree, members)?;
        fs::remove_dir_all(&tree).context("remove the seed's tree")?;
        Ok(disk)
    }
}

/// Makes one archive of many, `images.tar` in `tree`, and returns its manifest, which names the content by digest.
///
/// One import in the guest instead of several saves it seconds for each.
fn merge_images(archives: &[PathBuf], tree: &Path) -> Result<String> {
    let merged = tree.join("images");
    fs::create_dir_all(merged.join("blobs")).context("create the tree of images")?;
    let mut manifest: Vec<serde_json::Value> = Vec::new();
    for image in archives {
        // Blobs are named by their digest: what two images share is there once.
        run(Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(image)
            .arg("--directory")
            .arg(&merged))
        .with_context(|| format!("unpack image {}", image.display()))?;
        let text = fs::read_to_string(merged.join("manifest.json")).context("read an image's manifest")?;
        let entries: Vec<serde_json::Value> =
            serde_json::from_str(&text).with_context(|| format!("manifest of {}", image.display()))?;
        manifest.extend(entries);
    }
    let text = serde_json::to_string(&manifest).context("write the images' manifest")?;
    fs::write(merged.join("manifest.json"), &text).context("write the images' manifest")?;
    archive(&tree.join("images.tar"), &merged, ["manifest.json", "blobs"])?;
    fs::remove_dir_all(&merged).context("remove the tree of images")?;
    Ok(text)
}

fn archive<'a>(to: &Path, from: &Path, members: impl IntoIterator<Item = &'a str>) -> Result<()> {
    run(Command::new("tar")
        .arg("--create")
        .arg("--file")
        .arg(to)
        .arg("--directory")
        .arg(from)
        .args(members))
    .map(drop)
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
