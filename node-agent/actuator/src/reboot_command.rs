//! A command of the administrator's that reboots the host, for hosts without logind.
//!
//! Its exit code proves nothing, as logind's reply does not: the operator waits for a new boot id.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::logind::{Probe, Reply};

/// A command that has not ended by then is taken to reboot the host.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// The command: a program with its arguments, without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebootCommand {
    program: PathBuf,
    arguments: Vec<String>,
}

impl FromStr for RebootCommand {
    type Err = anyhow::Error;

    /// Splits the text at white space; quotes have no meaning.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut words = text.split_whitespace();
        let program = PathBuf::from(words.next().context("the reboot command is empty")?);
        ensure!(
            program.is_absolute(),
            "the reboot command must begin with the full path of a program, not with {}",
            program.display()
        );
        Ok(Self {
            program,
            arguments: words.map(str::to_owned).collect(),
        })
    }
}

impl RebootCommand {
    /// Checks that the program exists, without running it. Nothing inhibits a command.
    pub fn probe(&self) -> Probe {
        let program = self.program.display();
        let message = match std::fs::metadata(&self.program) {
            Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => String::new(),
            Ok(_) => {
                format!("the reboot command {program} is not an executable file: make it one, or set --reboot-command")
            }
            Err(error) => format!("no reboot command {program}: install it, or set --reboot-command ({error})"),
        };
        Probe {
            answered: true,
            capable: message.is_empty(),
            message,
            ..Probe::default()
        }
    }

    /// Runs the command. What it prints goes to the log of the actuator.
    pub async fn run(&self) -> Reply {
        let program = self.program.display();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Reply::Failed(format!("the reboot command {program} does not start: {error}")),
        };
        // A command that goes on after the time limit is not killed: it may be about to reboot the host.
        match tokio::time::timeout(TIME_LIMIT, child.wait()).await {
            Ok(Ok(status)) => self.reply(status),
            Ok(Err(error)) => Reply::Lost(format!(
                "the result of the reboot command {program} is not known: {error}"
            )),
            Err(_elapsed) => Reply::Accepted(format!(
                "the reboot command {program} still runs after {} s",
                TIME_LIMIT.as_secs()
            )),
        }
    }

    fn reply(&self, status: ExitStatus) -> Reply {
        let program = self.program.display();
        match status.code() {
            Some(0) => Reply::Accepted(String::new()),
            Some(code) => Reply::Failed(format!(
                "the reboot command {program} ended with exit code {code}: see the log of the actuator, and run it on the host"
            )),
            // As a program of a host that goes down.
            None => Reply::Lost(format!(
                "the reboot command {program} was ended by signal {}",
                status.signal().unwrap_or_default()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> RebootCommand {
        text.parse().unwrap()
    }

    #[test]
    fn a_reboot_command_is_split_at_spaces_and_needs_a_full_path() {
        let parsed = command(" /sbin/openrc-shutdown  --reboot now ");
        assert_eq!(parsed.program, PathBuf::from("/sbin/openrc-shutdown"));
        assert_eq!(parsed.arguments, ["--reboot", "now"]);
        for (text, words) in [("", "empty"), ("  ", "empty"), ("reboot now", "full path")] {
            let error = text.parse::<RebootCommand>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_command_that_cannot_run_makes_the_host_incapable_and_names_the_remedy() {
        assert!(command("/bin/sh").probe().capable);
        for (text, words) in [("/no/such/program", "install it"), ("/etc/passwd", "not an executable")] {
            let probe = command(text).probe();
            assert!(!probe.capable && probe.message.contains(words), "{probe:?}");
            assert!(probe.message.contains("--reboot-command"), "{probe:?}");
        }
    }

    #[tokio::test]
    async fn only_a_command_that_ends_with_an_error_has_failed() {
        assert_eq!(command("/bin/true").run().await, Reply::Accepted(String::new()));
        let failed = command("/bin/false").run().await;
        assert!(
            matches!(&failed, Reply::Failed(why) if why.contains("exit code 1")),
            "{failed:?}"
        );
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("reboot");
        std::fs::write(&script, "#!/bin/sh\nkill -TERM $$\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let killed = command(script.to_str().unwrap()).run().await;
        assert!(
            matches!(&killed, Reply::Lost(why) if why.contains("signal 15")),
            "{killed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_does_not_end_counts_as_accepted() {
        let reply = command("/bin/sleep 5").run().await;
        assert!(
            matches!(&reply, Reply::Accepted(why) if why.contains("still runs")),
            "{reply:?}"
        );
    }
}
