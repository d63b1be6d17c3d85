//! What the guests are made from: the disk image and the container images, built by scripts, once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The disk and the kernel all nodes start from.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// An ext4 file system without a partition table; never written to.
    pub disk: PathBuf,
    /// Its kernel, which needs no initial ramdisk.
    pub kernel: PathBuf,
    /// What this kernel's command line has in addition to that of all nodes.
    pub(super) kernel_arguments: &'static str,
}

/// What a node runs.
#[derive(Debug, Clone, Copy, Default)]
pub enum Release {
    /// Debian stable.
    #[default]
    Stable,
    /// The same with a newer kernel and `AppArmor`, which mediate D-Bus as those of Ubuntu do, and with kexec-tools.
    Newer,
    /// Debian stable with `SELinux` in place of `AppArmor`, enforcing, and with the container types that RHEL has as well.
    Selinux,
}

impl Release {
    /// Its name in `image.sh`.
    fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Newer => "newer",
            Self::Selinux => "selinux",
        }
    }

    fn kernel_arguments(self) -> &'static str {
        match self {
            Self::Stable | Self::Newer => "",
            Self::Selinux => "security=selinux selinux=1 enforcing=1",
        }
    }
}

/// The image of a node with this kubelet; built when the cache has none.
pub fn base(kubelet: &Path, release: Release) -> Result<BaseImage> {
    let printed = script("cluster/vm/image.sh", &[kubelet, Path::new(release.name())])?;
    let dir = PathBuf::from(printed.trim());
    Ok(BaseImage {
        disk: dir.join("base.img"),
        kernel: dir.join("vmlinuz"),
        kernel_arguments: release.kernel_arguments(),
    })
}

/// What a cluster needs to run Lockkeeper and the demo's workload.
pub const ALL: [&str; 4] = ["pause", "web", "operator", "node-agent"];
/// Archives of these container images, built from this work tree.
pub fn containers(names: &[&str]) -> Result<Vec<PathBuf>> {
    let names: Vec<&Path> = names.iter().map(Path::new).collect();
    let printed = script("cluster/images/build.sh", &names)?;
    Ok(printed.lines().map(PathBuf::from).collect())
}

/// Runs one of this crate's scripts; its progress goes to our standard error, what it prints is returned.
fn script(path: &str, args: &[&Path]) -> Result<String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let output = Command::new(&program)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{path} ended with {}: what it said is above",
        output.status
    );
    String::from_utf8(output.stdout).with_context(|| format!("{path} printed no text"))
}
