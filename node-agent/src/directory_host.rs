//! The real host: its files, and the directory shared with the actuator.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};

use crate::detect::{self, BootSpan, DEBIAN, DEBIAN_PACKAGES, DROP_DIRECTORY, LOCKKEEPER, SUSE};
use crate::facts::{FactPaths, KernelFacts, boot_time, kernel_facts};
use crate::host::{Host, HostView};
use lockkeeper_channel::boot::{boot_id, uptime};
use lockkeeper_channel::watch::{DirectoryWatch, Watched};
use lockkeeper_channel::{ANSWER, Channel, FACTS, FACTS_WANTED, FactsWanted, HostOrder, ORDER};

/// A package manager writes its files in a burst; one report for it is enough, and it names the packages. The two files
/// of Debian's hook were observed more than 250 ms apart on a busy machine.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// The index of the shared directory among those watched; its changes are handled without delay.
const SHARED: usize = 0;

/// A host that is observed through files.
#[derive(Debug)]
pub struct DirectoryHost {
    run: PathBuf,
    boot_id: PathBuf,
    uptime: PathBuf,
    kernel: KernelFacts,
    boot_time: Option<DateTime<Utc>>,
    channel: Channel,
    watch: DirectoryWatch,
}

impl DirectoryHost {
    /// Starts to watch the host's run directory and the shared one.
    pub fn new(run: PathBuf, channel: Channel, paths: FactPaths) -> anyhow::Result<Self> {
        anyhow::ensure!(
            channel.directory().is_dir(),
            "{} is no directory: mount the directory shared with the actuator there (--channel-dir)",
            channel.directory().display()
        );
        let lockkeeper = run.join(LOCKKEEPER);
        let watch = DirectoryWatch::new(vec![
            Watched::new(channel.directory(), &[FACTS, ANSWER]),
            Watched::new(&run, &[DEBIAN, DEBIAN_PACKAGES, SUSE, LOCKKEEPER]),
            Watched::new(&lockkeeper, &[DROP_DIRECTORY]),
            Watched::new(lockkeeper.join(DROP_DIRECTORY), &[]),
        ]);
        Ok(Self {
            kernel: kernel_facts(&paths),
            boot_time: None,
            boot_id: paths.boot_id,
            uptime: paths.uptime,
            // One instance for all directories: the kernel counts instances by user id, which other pods share.
            watch: watch
                .context("start file notification; if too many are in use, raise fs.inotify.max_user_instances")?,
            run,
            channel,
        })
    }
}

impl Host for DirectoryHost {
    async fn observe(&mut self) -> anyhow::Result<HostView> {
        // Watch before reading, so that no change is missed.
        self.watch.arm();
        self.boot_time = boot_time(self.boot_time);
        let boot = BootSpan {
            began: self.boot_time,
            now: Utc::now(),
        };
        // The actuator publishes its facts before it refuses an order because of them: read them after the answer.
        let answer = readable(self.channel.read(ANSWER));
        let facts = readable(self.channel.read(FACTS));
        Ok(HostView {
            boot_id: boot_id(&self.boot_id)?,
            boot_time: self.boot_time,
            uptime: uptime(&self.uptime)?,
            os: self.kernel.os.clone(),
            kernel: self.kernel.kernel.clone(),
            reboot_required: detect::detect(&self.run, boot),
            facts,
            answer,
        })
    }

    async fn changed(&mut self) -> anyhow::Result<()> {
        if self.watch.changed().await? != Some(SHARED) {
            tokio::time::sleep(QUIET_TIME).await;
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
