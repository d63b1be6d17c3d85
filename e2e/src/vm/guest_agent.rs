//! Runs commands in a guest over a virtio-serial port, which needs neither its network nor its kubelet.
//!
//! The other end is Debian's qemu-guest-agent; the protocol is one JSON object a line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The agent answers at once when it runs; a guest that is starting does not answer at all.
const SYNC_LIMIT: Duration = Duration::from_secs(3);
/// QEMU makes the socket within moments of its start; later there is none because the guest has ended.
const SOCKET_LIMIT: Duration = Duration::from_secs(10);
/// How often a running command is asked for its end; the protocol has no notification.
const POLL: Duration = Duration::from_millis(200);

/// What a command in the guest ended with.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; -1 for a signal.
    pub code: i64,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// The way into one guest.
#[derive(Debug)]
pub struct GuestAgent {
    socket: PathBuf,
    /// QEMU serves one client of the socket at a time; a second one would wait without a word.
    turn: Mutex<()>,
}

impl GuestAgent {
    /// The agent behind this socket; nothing is opened yet.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            turn: Mutex::new(()),
        }
    }

    /// Runs `sh -c command` in the guest and waits for its end, at most until `limit` from now.
    pub async fn run(&self, command: &str, limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit;
        let work = async {
            let _turn = self.turn.lock().await;
            let mut session = self.open().await?;
            let pid = session.start(command).await?;
            session.wait(pid).await
        };
        timeout_at(deadline, work)
            .await
            .with_context(|| format!("no end of `{command}` within {limit:?}"))?
    }

    /// A session with an agent that answers now: a request that a stopped guest did not read is never executed later.
    async fn open(&self) -> Result<Session> {
        let deadline = Instant::now() + SOCKET_LIMIT;
        loop {
            match timeout(SYNC_LIMIT, Session::synchronised(&self.socket)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) if Instant::now() >= deadline => return Err(error),
                Ok(Err(_)) => sleep(POLL).await,
                // The guest is on its way up; the caller's deadline ends this.
                Err(_) => {}
            }
        }
    }
}

struct Session {
    stream: BufReader<UnixStream>,
}

impl Session {
    async fn synchronised(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.with_context(|| {
            format!(
                "connect to the guest agent at {}: has the guest ended?",
                socket.display()
            )
        })?;
        let mut session = Self {
            stream: BufReader::new(stream),
        };
        let id = std::process::id();
        // This byte, which no JSON holds, makes the agent drop a half request of an earlier session.
        session
            .stream
            .get_mut()
            .write_all(b"\xff")
            .await
            .context("reset the guest agent")?;
        session.send("guest-sync", json!({"id": id})).await?;
        // Answers to an earlier, abandoned session come first.
        while session.receive().await?.get("return") != Some(&json!(id)) {}
        Ok(session)
    }

    async fn start(&mut self, command: &str) -> Result<i64> {
        let program = json!({"path": "/bin/sh", "arg": ["-c", command], "capture-output": true});
        let started = self.call("guest-exec", program).await?;
        started["pid"]
            .as_i64()
            .with_context(|| format!("guest-exec answered {started}"))
    }

    async fn wait(&mut self, pid: i64) -> Result<Output> {
        loop {
            let status = self.call("guest-exec-status", json!({"pid": pid})).await?;
            if status["exited"] == json!(true) {
                return Ok(Output {
                    code: status["exitcode"].as_i64().unwrap_or(-1),
                    stdout: text(&status["out-data"])?,
                    stderr: text(&status["err-data"])?,
                });
            }
            sleep(POLL).await;
        }
    }

    async fn call(&mut self, name: &str, arguments: Value) -> Result<Value> {
        self.send(name, arguments).await?;
        let answer = self.receive().await?;
        match answer.get("return") {
            Some(value) => Ok(value.clone()),
            None => bail!("{name} in the guest: {}", answer["error"]["desc"]),
        }
    }

    async fn send(&mut self, name: &str, arguments: Value) -> Result<()> {
        let line = format!("{}\n", json!({"execute": name, "arguments": arguments}));
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .await
            .with_context(|| format!("send {name} to the guest"))
    }

    async fn receive(&mut self) -> Result<Value> {
        let mut line = Vec::new();
        if self
            .stream
            .read_until(b'\n', &mut line)
            .await
            .context("read from the guest agent")?
            == 0
        {
            bail!("the guest ended while its agent was asked");
        }
        serde_json::from_slice(&line).with_context(|| format!("guest agent sent {:?}", String::from_utf8_lossy(&line)))
    }
}

fn text(encoded: &Value) -> Result<String> {
    let bytes = BASE64.decode(encoded.as_str().unwrap_or_default())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
