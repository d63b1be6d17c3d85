//! `status --watch`: three watches, and the same screen drawn again when something changed.

mod follower;
mod ledger;

use std::io::IsTerminal;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::args::StatusArgs;
use crate::connect::Cluster;
use crate::failure::Failure;
use crate::live::follower::Follower;
use crate::live::ledger::Ledger;
use crate::moment::{Moment, count};
use crate::objects::{self, Objects};
use crate::reasons::Needs;
use crate::screen::{self, Line};
use crate::status;
use crate::view::{View, view};

/// Follows the rollout until it is done, the time is over or the reader ends it.
pub(crate) async fn follow(cluster: &Cluster, args: &StatusArgs) -> Result<(), Failure> {
    // A wrong kubeconfig, a missing right or a missing kind ends here, in words.
    let objects = objects::fetch(cluster).await?;
    let mut display = Display::new(&objects, args)?;
    if display.is_done(args) {
        return Ok(());
    }
    let mut follower = Follower::new(objects);
    let mut changes = follower::watch(cluster).ready_chunks(512);
    let deadline = args
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // Relative times move on by themselves, which only a screen that is drawn again can show.
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            Some(batch) = changes.next() => {
                for change in batch {
                    follower.take(change);
                }
            }
            _ = ticks.tick(), if display.is_terminal() => {}
            () = until(deadline) => return Err(timed_out(args, display.last())),
            else => return Err(Failure::error("the watches ended")),
        }
        display.show(follower.objects(), follower.notice(), args)?;
        if display.is_done(args) {
            return Ok(());
        }
    }
}

/// Never, if there is no deadline.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn timed_out(args: &StatusArgs, view: &View) -> Failure {
    let seconds = args.timeout.unwrap_or_default();
    let moment = Moment::now();
    let open: Vec<String> = view
        .policies
        .iter()
        .flat_map(|policy| &policy.nodes)
        .filter(|node| !node.is_done())
        .map(|node| format!("{} {}: {}", node.name, node.state.as_str(), status::told(node, &moment)))
        .collect();
    Failure::timed_out(match open.as_slice() {
        [] => format!("{seconds} s are over"),
        [first] => format!("{seconds} s are over; {first}"),
        [first, rest @ ..] => format!("{seconds} s are over; {first} (and {} more)", count(rest.len())),
    })
}

/// Where the reader reads: a terminal that is drawn again, or lines that are added.
enum Display {
    Screen {
        view: View,
        drawn: usize,
        size: (usize, usize),
    },
    Lines {
        view: View,
        ledger: Ledger,
    },
}

impl Display {
    fn new(objects: &Objects, args: &StatusArgs) -> Result<Self, Failure> {
        let view = view(objects, args.policy.as_deref())?;
        if std::io::stdout().is_terminal() {
            let mut screen = Self::Screen {
                view,
                drawn: 0,
                size: screen::size(),
            };
            screen.draw(None);
            return Ok(screen);
        }
        screen::print(&status::render(&view, &Moment::now()));
        let ledger = Ledger::new(&view);
        Ok(Self::Lines { view, ledger })
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
        // A policy that is gone has no nodes; the reader who asked for it alone is told so.
        let fresh = view(objects, args.policy.as_deref())?;
        match self {
            Self::Screen { view, .. } => {
                *view = fresh;
                self.draw(notice);
            }
            Self::Lines { view, ledger } => {
                let lines = ledger.changes(objects, &fresh, notice, &Moment::now());
                *view = fresh;
                if !lines.is_empty() {
                    screen::print(&lines);
                }
            }
        }
        Ok(())
    }

    /// Goes back to the first line of the last drawing; a terminal of another size is cleared, as its lines moved.
    fn draw(&mut self, notice: Option<String>) {
        let Self::Screen { view, drawn, size } = self else {
            return;
        };
        let mut lines = status::render(view, &Moment::now());
        lines.extend(notice.map(|text| Line::new(text, Needs::Person)));
        let now = screen::size();
        let (columns, rows) = now;
        // A full last column would be wiped by the erasure behind it.
        let mut lines: Vec<Line> = lines
            .iter()
            .flat_map(|line| line.folded(columns.saturating_sub(1)))
            .collect();
        let room = rows.saturating_sub(1).max(1);
        if lines.len() > room {
            let more = lines.len() + 1 - room;
            lines.truncate(room - 1);
            lines.push(Line::plain(format!("  and {} more lines", count(more))));
        }
        let back = match *drawn {
            _ if *size != now => "\x1b[2J\x1b[H".to_owned(),
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A\r"),
        };
        let colour = screen::colour();
        let body: Vec<String> = lines.iter().map(|line| line.painted(colour)).collect();
        screen::write(&format!("{back}{}\x1b[K\n\x1b[J", body.join("\x1b[K\n")));
        *drawn = lines.len();
        *size = now;
    }
}
