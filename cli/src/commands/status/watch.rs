//! `status --watch`: three watches, and the screen of `status` again after each change.

mod changes;

use std::io::IsTerminal;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::changes::ReportedChanges;
use crate::args::StatusArgs;
use crate::clock::DisplayClock;
use crate::cluster::Cluster;
use crate::cluster::live::{self, LiveObjects};
use crate::cluster::objects::{self, Objects};
use crate::failure::Failure;
use crate::render::{Line, message, terminal, thousands};
use crate::view::{ActionRequired, View, view};

/// Follows the rollout until it is done, the time-out or Ctrl-C.
pub(crate) async fn follow(cluster: &Cluster, args: &StatusArgs) -> Result<(), Failure> {
    // A wrong kubeconfig, a missing permission or a missing kind is an error here.
    let objects = objects::fetch(cluster).await?;
    let mut display = Display::new(&objects, args)?;
    if display.is_done(args) {
        return Ok(());
    }
    let mut live = LiveObjects::new(objects);
    let mut changes = live::watch(cluster).ready_chunks(512);
    let deadline = args
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // Relative times change every second; only a screen that is redrawn can show that.
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            Some(batch) = changes.next() => {
                for change in batch {
                    live.apply(change);
                }
            }
            _ = ticks.tick(), if display.is_terminal() => {}
            () = sleep_if_limited(deadline) => return Err(timed_out(args, display.last())),
            else => return Err(Failure::error("the watches ended")),
        }
        display.show(live.objects(), live.notice(), args)?;
        if display.is_done(args) {
            return Ok(());
        }
    }
}

/// Sleeps until the deadline; forever if there is none.
async fn sleep_if_limited(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn timed_out(args: &StatusArgs, view: &View) -> Failure {
    let seconds = args.timeout.unwrap_or_default();
    let clock = DisplayClock::now();
    let open: Vec<String> = view
        .policies
        .iter()
        .flat_map(|policy| &policy.nodes)
        .filter(|node| !node.is_done())
        .map(|node| format!("{} {}: {}", node.name, node.state.as_str(), message(node, &clock)))
        .collect();
    Failure::timed_out(match open.as_slice() {
        [] => format!("timed out after {seconds} s"),
        [first] => format!("timed out after {seconds} s; {first}"),
        [first, rest @ ..] => format!(
            "timed out after {seconds} s; {first} (and {} more)",
            thousands(rest.len())
        ),
    })
}

/// The output: a terminal that is redrawn, or lines that are added.
enum Display {
    Screen {
        view: View,
        /// How many lines the last drawing had.
        drawn: usize,
        size: (usize, usize),
    },
    Lines {
        view: View,
        reported: ReportedChanges,
    },
}

impl Display {
    fn new(objects: &Objects, args: &StatusArgs) -> Result<Self, Failure> {
        let view = view(objects, args.policy.as_deref())?;
        if std::io::stdout().is_terminal() {
            let mut screen = Self::Screen {
                view,
                drawn: 0,
                size: terminal::size(),
            };
            screen.draw(None);
            return Ok(screen);
        }
        terminal::print(&super::render(&view, &DisplayClock::now()));
        let reported = ReportedChanges::new(&view);
        Ok(Self::Lines { view, reported })
    }

    fn is_terminal(&self) -> bool {
        matches!(self, Self::Screen { .. })
    }

    fn last(&self) -> &View {
        match self {
            Self::Screen { view, .. } | Self::Lines { view, .. } => view,
        }
    }

    fn is_done(&self, args: &StatusArgs) -> bool {
        args.until_done && self.last().is_done()
    }

    fn show(&mut self, objects: &Objects, notice: Option<String>, args: &StatusArgs) -> Result<(), Failure> {
        // An error if the policy that the view is limited to has been deleted.
        let fresh = view(objects, args.policy.as_deref())?;
        match self {
            Self::Screen { view, .. } => {
                *view = fresh;
                self.draw(notice);
            }
            Self::Lines { view, reported } => {
                let lines = reported.update(objects, &fresh, notice, &DisplayClock::now());
                *view = fresh;
                if !lines.is_empty() {
                    terminal::print(&lines);
                }
            }
        }
        Ok(())
    }

    /// Returns to the first line of the last drawing; a terminal whose size changed is cleared, as its lines moved.
    fn draw(&mut self, notice: Option<String>) {
        let Self::Screen { view, drawn, size } = self else {
            return;
        };
        let mut lines = super::render(view, &DisplayClock::now());
        lines.extend(notice.map(|text| Line::new(text, ActionRequired::Manual)));
        let now = terminal::size();
        let (columns, rows) = now;
        // Text in the last column would be erased by the sequence behind it.
        let mut lines: Vec<Line> = lines
            .iter()
            .flat_map(|line| line.folded(columns.saturating_sub(1)))
            .collect();
        let max_lines = rows.saturating_sub(1).max(1);
        if lines.len() > max_lines {
            let more = lines.len() + 1 - max_lines;
            lines.truncate(max_lines - 1);
            lines.push(Line::plain(format!("  and {} more lines", thousands(more))));
        }
        let back = match *drawn {
            _ if *size != now => "\x1b[2J\x1b[H".to_owned(),
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A\r"),
        };
        let colour = terminal::use_colour();
        let body: Vec<String> = lines.iter().map(|line| line.coloured(colour)).collect();
        terminal::write(&format!("{back}{}\x1b[K\n\x1b[J", body.join("\x1b[K\n")));
        *drawn = lines.len();
        *size = now;
    }
}
