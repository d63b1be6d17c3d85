//! One guest: its disk, its QEMU, and the way into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::accel;
use super::guest_agent::GuestAgent;
use super::image::BaseImage;
use super::seed::run;
use crate::process::{Process, Spec};

/// How much of a console fits into an error.
const CONSOLE_LINES: usize = 20;

/// What a guest is made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// The node's name.
    pub(super) name: &'a str,
    /// Tells the nodes of a cluster apart in their machine id; the first is 1.
    pub(super) number: usize,
    /// The disk every node starts from.
    pub(super) image: &'a BaseImage,
    /// Where the disks go; must exist.
    pub(super) dir: &'a Path,
    /// Where the logs go.
    pub(super) logs: &'a Path,
    /// The disk with this node's own settings.
    pub(super) seed: PathBuf,
    /// Forwarded from the host's loopback to the guest.
    pub(super) kubelet_port: u16,
    /// The guest's memory.
    pub(super) memory_mb: u32,
}

/// A guest, running or ended; dropping it ends it.
#[derive(Debug)]
pub(super) struct Machine {
    process: Process,
    spec: Spec,
    agent: GuestAgent,
    console: PathBuf,
    // The agent's socket is in here: a socket's path may have 107 bytes, a test's directory has more.
    _sockets: tempfile::TempDir,
}

impl Machine {
    /// Starts the guest on a fresh disk.
    pub(super) fn start(parts: &Parts<'_>) -> Result<Self> {
        let sockets = tempfile::Builder::new()
            .prefix("lockkeeper-vm-")
            .tempdir()
            .context("make a socket directory")?;
        let socket = sockets.path().join("agent");
        let disk = overlay(parts)?;
        let spec = spec(parts, &disk, &socket);
        let process = Process::spawn(spec.clone())?;
        let (agent, console) = (GuestAgent::new(&socket), console(parts));
        Ok(Self {
            process,
            spec,
            agent,
            console,
            _sockets: sockets,
        })
    }

    /// The way into the guest.
    pub(super) fn agent(&self) -> &GuestAgent {
        &self.agent
    }

    /// What the emulator and the guest's console said last.
    pub(super) fn log_tail(&self) -> String {
        let console = fs::read(&self.console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let last = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
        format!(
            "{}\n{}\n(all of it is in {})",
            self.process.log_tail(5),
            last.join("\n"),
            self.console.display()
        )
    }

    /// Whether the guest has ended and left its disk behind.
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.exited().is_some()
    }

    /// Cuts the guest's power.
    pub(super) fn power_off(&mut self) {
        self.process.kill();
    }

    /// Starts a guest that has ended on the disk it left.
    pub(super) fn restart(&mut self) -> Result<()> {
        ensure!(
            self.has_ended(),
            "{} still runs: only a guest that has ended can be started",
            self.process.name()
        );
        self.process = Process::spawn(self.spec.clone())?;
        Ok(())
    }
}

/// A disk that keeps what this node writes and reads the rest from the image all nodes share.
fn overlay(parts: &Parts<'_>) -> Result<PathBuf> {
    let disk = parts.dir.join(format!("{}.qcow2", parts.name));
    if disk.exists() {
        fs::remove_file(&disk).with_context(|| format!("remove {}", disk.display()))?;
    }
    let mut create = Command::new("qemu-img");
    create
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(&parts.image.disk)
        .arg(&disk);
    run(&mut create).with_context(|| format!("make the disk of {}", parts.name))?;
    Ok(disk)
}

fn console(parts: &Parts<'_>) -> PathBuf {
    parts.logs.join(format!("{}-console.log", parts.name))
}

fn spec(parts: &Parts<'_>, disk: &Path, socket: &Path) -> Spec {
    let (name, number, port) = (parts.name, parts.number, parts.kubelet_port);
    let (console, more) = (console(parts), parts.image.kernel_arguments);
    // NVMe is built into the kernel, so that no initial ramdisk is needed; systemd takes name and id from here.
    let append = format!(
        "root=/dev/nvme0n1 rootfstype=ext4 rw console=ttyS0 loglevel=4 panic=10 net.ifnames=0 \
         mitigations=off nowatchdog systemd.show_status=false systemd.hostname={name} systemd.machine_id={number:032x} {more}"
    );
    Spec::new(format!("{name}-qemu"), "qemu-system-x86_64", parts.logs)
        .args(["-name", name])
        .args("-nodefaults -no-user-config -display none -machine q35".split(' '))
        .args(accel::arguments(&parts.image.kernel))
        .args(["-smp", "2", "-m", &parts.memory_mb.to_string()])
        .arg("-kernel")
        .arg(&parts.image.kernel)
        .args(["-append", &append])
        // Unsafe towards a power cut of the host only: what a guest wrote survives its own end.
        .arg("-drive")
        .arg(format!(
            "file={},if=none,id=root,format=qcow2,cache=unsafe",
            disk.display()
        ))
        .args(["-device", "nvme,drive=root,serial=root"])
        .arg("-drive")
        .arg(format!(
            "file={},if=none,id=seed,format=raw,readonly=on",
            parts.seed.display()
        ))
        .args(["-device", "virtio-blk-pci,drive=seed"])
        .arg("-netdev")
        .arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:{port}"))
        .args("-device virtio-net-pci,netdev=net -device virtio-rng-pci -device virtio-serial-pci".split(' '))
        .arg("-chardev")
        .arg(format!("socket,id=agent,path={},server=on,wait=off", socket.display()))
        .args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"])
        .arg("-chardev")
        .arg(format!("file,id=console,path={},append=on", console.display()))
        .args(["-serial", "chardev:console"])
}
