//! The real host: its files, and the directory shared with the actuator.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::detect::{BootSpan, DetectorSettings, Detectors, HostDirectories, UpdatesFile};
use crate::facts::{FactPaths, KernelFacts, boot_time, kernel_facts, same_or_new};
use crate::host::{Host, HostView};
use lockkeeper_channel::boot::{boot_id, uptime};
use lockkeeper_channel::timer::sleep_until_or_forever;
use lockkeeper_channel::watch::{DirectoryWatch, Watched};
use lockkeeper_channel::{ANSWER, Channel, FACTS, FACTS_WANTED, FactsWanted, HostFacts, HostOrder, ORDER, UPDATES};

/// A package manager writes its files in a burst; one report for it is enough, and it names the packages. The two files
/// of Debian's hook were observed more than 250 ms apart on a busy machine.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// The index of the shared directory among those watched; its changes are handled without delay.
const SHARED: usize = 0;

/// Where the files of the host are.
#[derive(Clone, Debug)]
pub struct HostPaths {
    /// The host's `/run`.
    pub run: PathBuf,
    /// The host's `/lib/modules`.
    pub modules: PathBuf,
    /// The host's RPM database.
    pub rpm: PathBuf,
    /// The files with facts about kernel and system.
    pub facts: FactPaths,
}

/// A host that is observed through files.
#[derive(Debug)]
pub struct DirectoryHost {
    detectors: Detectors,
    /// When the detectors must look again although no file changes.
    look_again: Option<Instant>,
    boot_id: PathBuf,
    uptime: PathBuf,
    kernel: KernelFacts,
    boot_time: Option<DateTime<Utc>>,
    soft_rebooted: Option<DateTime<Utc>>,
    channel: Channel,
    watch: DirectoryWatch,
}

impl DirectoryHost {
    /// Starts to watch the directories of the detectors and the shared one.
    pub fn new(paths: HostPaths, channel: Channel, settings: &DetectorSettings) -> anyhow::Result<Self> {
        anyhow::ensure!(
            channel.directory().is_dir(),
            "{} is no directory: mount the directory shared with the actuator there (--channel-dir)",
            channel.directory().display()
        );
        let kernel = kernel_facts(&paths.facts);
        let host = HostDirectories {
            run: paths.run,
            modules: paths.modules,
            rpm: paths.rpm,
            updates: UpdatesFile::new(channel.directory(), &paths.facts.boot_id),
            kernel: kernel.kernel.clone(),
            distribution: kernel.distribution.clone(),
        };
        let detectors = Detectors::new(settings, &host)?;
        let mut watched = vec![Watched::new(channel.directory(), &[FACTS, ANSWER, UPDATES])];
        watched.extend(detectors.watched());
        let watch = DirectoryWatch::new(watched);
        Ok(Self {
            kernel,
            boot_time: None,
            soft_rebooted: None,
            boot_id: paths.facts.boot_id,
            uptime: paths.facts.uptime,
            detectors,
            look_again: None,
            // One instance for all directories: the kernel counts instances by user id, which other pods share.
            watch: watch
                .context("start file notification; if too many are in use, raise fs.inotify.max_user_instances")?,
            channel,
        })
    }
}

impl Host for DirectoryHost {
    async fn observe(&mut self) -> anyhow::Result<HostView> {
        // Watch before reading, so that no change is missed.
        self.watch.arm();
        self.boot_time = boot_time(self.boot_time);
        let boot_id = boot_id(&self.boot_id)?;
        // The actuator publishes its facts before it refuses an order because of them: read them after the answer.
        let answer = readable(self.channel.read(ANSWER));
        let facts: Option<HostFacts> = readable(self.channel.read(FACTS));
        let now = Utc::now();
        let soft_reboots = facts.as_ref().filter(|facts| facts.boot_id == boot_id);
        let up_since = soft_reboots.and_then(|facts| facts.soft_reboots?.last());
        self.soft_rebooted = up_since.and_then(|ago| same_or_new(self.soft_rebooted, Some(now - ago)));
        let boot = BootSpan {
            began: self.boot_time,
            soft_rebooted: self.soft_rebooted,
            now,
        };
        let detected = self.detectors.look(boot);
        self.look_again = detected.look_again.map(|wait| Instant::now() + wait);
        Ok(HostView {
            boot_id,
            boot_time: self.boot_time,
            soft_rebooted: self.soft_rebooted,
            uptime: up_since.into_iter().fold(uptime(&self.uptime)?, Duration::min),
            os: self.kernel.os.clone(),
            kernel: self.kernel.kernel.clone(),
            reboot_required: detected.required,
            facts,
            answer,
        })
    }

    async fn changed(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            changed = self.watch.changed() => {
                if changed? != Some(SHARED) {
                    tokio::time::sleep(QUIET_TIME).await;
                }
            }
            () = sleep_until_or_forever(self.look_again) => {}
        }
        Ok(())
    }

    async fn request_facts(&mut self, order_id: &str) -> anyhow::Result<()> {
        let wanted = FactsWanted {
            order_id: order_id.to_owned(),
        };
        self.channel
            .write(FACTS_WANTED, &wanted)
            .context("request facts from the actuator")
    }

    async fn set_order(&mut self, order: &HostOrder) -> anyhow::Result<()> {
        // An order that cannot be decoded is replaced.
        let held: Option<HostOrder> = readable(self.channel.read(ORDER));
        if held.as_ref() == Some(order) {
            return Ok(());
        }
        self.channel
            .write(ORDER, order)
            .context("pass the order to the actuator")
    }

    async fn withdraw_order(&mut self) -> anyhow::Result<bool> {
        self.channel
            .remove(ORDER)
            .context("withdraw the order from the actuator")
    }
}

/// A file that cannot be decoded is logged and ignored.
fn readable<T>(read: io::Result<Option<T>>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, "ignored a file of the shared directory");
        None
    })
}
