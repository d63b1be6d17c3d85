//! Programs that run beside the harness, each with a log file, and none that outlives it.
//!
//! The kernel ends each of them when the harness ends, whatever ends it (return, panic, Ctrl-C, SIGKILL). That is
//! `PR_SET_PDEATHSIG`, set by util-linux's `setpriv`, which then becomes the program, so the pid is the program's.
//! The signal is bound to the *thread* that started the program, so one thread that never ends starts all of them.

mod port;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

pub use port::free_port;

/// How often an ending program is looked at.
const EXIT_CHECK: Duration = Duration::from_millis(20);

/// What to start, and where its log goes.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The log file's name without `.log`, and the name in errors.
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// Set on top of the harness' own environment.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: Option<PathBuf>,
    /// Made when missing.
    pub log_dir: PathBuf,
}

impl Spec {
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            log_dir: log_dir.into(),
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// Where stdout and stderr go; a program started again under the same name appends.
    pub fn log_path(&self) -> PathBuf {
        self.log_dir.join(format!("{}.log", self.name))
    }
}

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Child,
}

impl Process {
    pub fn spawn(spec: Spec) -> Result<Self> {
        let command = command(&spec)?;
        let child = start(command).with_context(|| {
            let program = spec.program.display();
            format!(
                "start {}: setpriv (Debian package util-linux) could not run {program}",
                spec.name
            )
        })?;
        Ok(Self { spec, child })
    }

    /// Kills the program if it still runs, and starts it again as it was.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let started = Self::spawn(self.spec.clone())?;
        // The old value is dropped, and with it a child that has ended.
        *self = started;
        Ok(())
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, or nothing while the program runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends the program at once, as a power cut would; returns when it is gone.
    pub fn kill(&mut self) {
        // Both fail only when the program is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the program to end, and kills it when `grace` is over; says how it ended.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        if self.exited().is_none() {
            self.signal(Signal::TERM)?;
        }
        if let Some(status) = self.wait(grace).await {
            return Ok(status);
        }
        self.kill();
        self.child
            .wait()
            .with_context(|| format!("wait for {}", self.spec.name))
    }

    /// Waits for the program to end by itself; nothing when it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(EXIT_CHECK).await;
        }
    }

    /// Sends any signal, such as STOP and CONT for a program that hangs for a while.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // A child that was not waited for keeps its pid, so this never reaches another process.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| anyhow!("{} has no valid pid", self.spec.name))?;
        kill_process(pid, signal).with_context(|| format!("send a signal to {}", self.spec.name))
    }

    pub fn log_path(&self) -> PathBuf {
        self.spec.log_path()
    }

    /// The last `lines` lines of the log, for error messages.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.spec.log_path(), lines)
    }

    /// The memory the program holds now, in KiB.
    pub fn rss_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The command line that starts `spec` and ends it with us.
fn command(spec: &Spec) -> Result<Command> {
    let log_path = spec.log_path();
    fs::create_dir_all(&spec.log_dir).with_context(|| format!("make the log directory {}", spec.log_dir.display()))?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("open the log {}", log_path.display()))?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&spec.program)
        .args(&spec.args);
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let stderr = log.try_clone().context("share the log between stdout and stderr")?;
    command.stdin(Stdio::null()).stdout(log).stderr(stderr);
    // Ctrl-C in a terminal is ours to handle; a program in our group would end before we can ask it to.
    command.process_group(0);
    Ok(command)
}

type Job = (Command, Sender<std::io::Result<Child>>);

/// Runs the command on the thread that lives as long as the harness.
fn start(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                // The caller waits for the answer; if it is gone, dropping the child changes nothing for us.
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (reply, answer) = mpsc::channel();
    let jobs = spawner
        .lock()
        .map_err(|_| anyhow!("the spawner thread's queue is poisoned"))?
        .clone();
    jobs.send((command, reply))
        .map_err(|_| anyhow!("the spawner thread has ended"))?;
    answer
        .recv()
        .context("the spawner thread has ended")?
        .map_err(Into::into)
}

/// The end of a text file; what cannot be read is said in its place.
fn tail(path: &Path, lines: usize) -> String {
    /// Enough for any tail that fits into an error message.
    const LAST_BYTES: u64 = 256 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(no log at {}: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests;
