//! `drain`: the operator's engine for people, on nodes that they work on themselves.
//!
//! Everything that can be known beforehand is looked at first: who holds the node, what could never leave. Only then
//! are the marks set (`marks`), on all nodes before the first pod moves, so that no pod moves twice; then the nodes are
//! emptied one after another (`one`). Whatever ends a drain early takes off the marks that this run has put on.

pub(crate) mod args;
mod follow;
mod held;
pub(crate) mod marks;
mod one;
pub(crate) mod picture;
pub(crate) mod policy;
mod stop;

use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_drain::{Preflight, glance, preflight};
use serde::Serialize;

use self::args::DrainArgs;
use self::marks::{Lifted, Marked};
use self::one::{Outcome, Report};
use self::picture::{NodeAhead, counted, counts, table};
use self::policy::{Book, Choice};
use self::stop::Stop;
use crate::connect::Cluster;
use crate::failure::{Exit, Failure, chain};
use crate::moment::Moment;
use crate::screen::{self, Line};

/// Drains, looks ahead or lifts, as asked.
pub(crate) async fn run(cluster: &Cluster, args: &DrainArgs) -> Result<(), Failure> {
    let mut nodes = args.nodes.clone();
    nodes.sort();
    nodes.dedup();
    if args.cancel {
        return cancel(cluster, &nodes).await;
    }
    let lock = held::lock(cluster).await?;
    for node in &nodes {
        held::check(&marks::find(cluster, node).await?, lock.as_ref())?;
    }
    let book = Book::of_nodes(cluster, &args.policy, &nodes).await?;
    if args.dry_run {
        return dry_run(cluster, args, &nodes, &book).await;
    }
    let stop = Stop::listen()?;
    let ahead = look_ahead(cluster, &nodes, &book).await?;
    let mut run = Run {
        cluster,
        args,
        stop,
        nodes: ahead.len(),
        reports: Vec::new(),
    };
    match blocked(&ahead) {
        Some(_) => run.leave_alone(&ahead),
        None => run.drain(&ahead).await,
    }
    run.end()
}

/// Says what would happen, with a dry run for each pod.
async fn dry_run(cluster: &Cluster, args: &DrainArgs, nodes: &[String], book: &Book) -> Result<(), Failure> {
    let (mut all, mut lines, mut blocked) = (Vec::new(), Vec::new(), Vec::new());
    for node in nodes {
        let choice = book.choice(node)?;
        let settings = choice.settings(node, Utc::now())?;
        let found = preflight(&cluster.client, &settings).await;
        let found = found.map_err(|error| Failure::error(format!("look at {node}: {}", chain(&error))))?;
        lines.extend(table(node, &choice.words(), &found, &Moment::now()));
        if !found.blockers.is_empty() {
            blocked.push(node.as_str());
        }
        all.push(NodeAhead::new(node, choice.policy, &found));
    }
    match args.output {
        Some(_) => screen::print_json(&All { nodes: all }),
        None => screen::print(&lines),
    }
    if blocked.is_empty() {
        return Ok(());
    }
    Err(Failure::blocked(format!("blocked: {}", blocked.join(", "))))
}

/// What `-o json` prints.
#[derive(Serialize)]
struct All<T> {
    nodes: Vec<T>,
}

/// A node, what is said about its pods, and what a drain would meet.
struct Ahead {
    node: String,
    choice: Choice,
    found: Preflight,
}

async fn look_ahead(cluster: &Cluster, nodes: &[String], book: &Book) -> Result<Vec<Ahead>, Failure> {
    let mut ahead = Vec::new();
    for node in nodes {
        let choice = book.choice(node)?;
        let settings = choice.settings(node, Utc::now())?;
        let found = glance(&cluster.client, &settings).await;
        let found = found.map_err(|error| Failure::error(format!("look at {node}: {}", chain(&error))))?;
        ahead.push(Ahead {
            node: node.clone(),
            choice,
            found,
        });
    }
    Ok(ahead)
}

fn blocked(ahead: &[Ahead]) -> Option<&Ahead> {
    ahead.iter().find(|node| !node.found.blockers.is_empty())
}

/// A node with its marks on, and since when.
struct Cordoned<'a> {
    ahead: &'a Ahead,
    marked: Marked,
    at: DateTime<Utc>,
}

struct Run<'a> {
    cluster: &'a Cluster,
    args: &'a DrainArgs,
    stop: Stop,
    /// How many nodes were asked for.
    nodes: usize,
    reports: Vec<Report>,
}

impl Run<'_> {
    /// Nothing is touched, as one of the nodes cannot be emptied.
    fn leave_alone(&mut self, ahead: &[Ahead]) {
        let moment = Moment::now();
        for node in ahead {
            let causes: Vec<String> = node
                .found
                .blockers
                .iter()
                .map(|cause| moment.localise(&cause.to_string()))
                .collect();
            let (result, message) = if causes.is_empty() {
                (Outcome::NotStarted, format!("{} was not touched either", node.node))
            } else {
                let message = format!(
                    "{} cannot be emptied, by {}: {}; it was not touched; see each pod: kubectl lockkeeper drain \
                     --dry-run {}",
                    node.node,
                    node.choice.words(),
                    causes.join("; "),
                    node.node
                );
                (Outcome::Blocked, message)
            };
            let mut report = Report::untouched(&node.node, node.choice.policy.clone(), result, message);
            report.blockers = node.found.blockers.iter().map(picture::Why::from).collect();
            self.add(node, report);
        }
    }

    /// Marks all, then empties one after another.
    async fn drain(&mut self, ahead: &[Ahead]) {
        let mut cordoned: Vec<Cordoned<'_>> = Vec::new();
        for node in ahead {
            let before = cordoned.len();
            if self.stop.is_asked() {
                break;
            }
            match marks::put_on(self.cluster, &node.node).await {
                Ok(marked) => cordoned.push(Cordoned {
                    ahead: node,
                    marked,
                    at: Utc::now(),
                }),
                Err(failure) => {
                    let result = match failure.exit {
                        Exit::Refused => Outcome::Refused,
                        Exit::Error | Exit::Usage | Exit::TimedOut | Exit::Blocked => Outcome::Failed,
                    };
                    self.add(node, Report::untouched(&node.node, None, result, failure.message));
                }
            }
            if cordoned.len() > before {
                self.say(&cordoned_words(node));
            }
        }
        // One that could not be cordoned would take the others' pods: nothing is evicted.
        let mut go = cordoned.len() == ahead.len() && !self.stop.is_asked();
        for node in &cordoned {
            let mut report = if go {
                self.empty(node).await
            } else {
                let message = format!("{} is not drained: nothing was evicted", node.ahead.node);
                Report::untouched(&node.ahead.node, None, Outcome::NotStarted, message)
            };
            go &= report.result != Outcome::Stopped;
            if report.result != Outcome::Drained {
                report.message += &self.undo(&node.marked).await;
            }
            self.add(node.ahead, report);
        }
    }

    async fn empty(&mut self, node: &Cordoned<'_>) -> Report {
        let name = node.ahead.node.clone();
        let settings = match node.ahead.choice.settings(&name, node.at) {
            Ok(settings) => settings,
            Err(failure) => return Report::untouched(&name, None, Outcome::Failed, failure.message),
        };
        let limit = self
            .args
            .timeout
            .map_or(node.ahead.choice.time_out(), Duration::from_secs);
        let quiet = self.args.output.is_some();
        let mut say = |line: &str| tell(quiet, &format!("{name} {line}"));
        let mut report = one::empty(self.cluster, settings, limit, &mut self.stop, &mut say).await;
        if report.result == Outcome::Drained {
            match marks::find(self.cluster, &name).await {
                Ok(seen) if !marks::is_cordoned(&seen) => {
                    report.result = Outcome::Failed;
                    report.message += ", but somebody has uncordoned it meanwhile: pods come back";
                }
                Ok(_) => {
                    report.message += "; it stays cordoned; when you are done: kubectl lockkeeper drain --cancel ";
                    report.message += &name;
                }
                Err(failure) => {
                    report.message += "; whether it still is cordoned could not be seen: ";
                    report.message += &failure.message;
                }
            }
        }
        report
    }

    /// Takes off what this run has put on, and says what is left.
    async fn undo(&self, marked: &Marked) -> String {
        if marked.before {
            return format!(
                "; the marks of an earlier run stay: kubectl lockkeeper drain --cancel {}",
                marked.node
            );
        }
        match marks::lift(self.cluster, &marked.node, &marked.uid).await {
            Ok(Lifted::Schedulable) => "; its marks are lifted, it takes pods again".to_owned(),
            Ok(Lifted::Cordoned) => "; its marks are lifted, somebody else's cordon stays".to_owned(),
            Ok(Lifted::Gone) => "; the node is gone".to_owned(),
            Err(failure) => format!("; {}", failure.message),
        }
    }

    fn add(&mut self, node: &Ahead, report: Report) {
        // The one bad end of a single node is the error that is printed last.
        if report.result == Outcome::Drained || self.nodes > 1 {
            self.say(&report.message);
        }
        self.reports.push(Report {
            policy: node.choice.policy.clone(),
            ..report
        });
    }

    fn say(&self, line: &str) {
        tell(self.args.output.is_some(), line);
    }

    /// The exit code is that of the first node that did not get its turn for a reason of its own.
    fn end(self) -> Result<(), Failure> {
        let own = |report: &&Report| report.result != Outcome::NotStarted;
        let exit = self.reports.iter().filter(own).find_map(|report| report.result.exit());
        let bad: Vec<&Report> = self
            .reports
            .iter()
            .filter(|report| report.result.exit().is_some())
            .collect();
        let message = match &bad[..] {
            [] => "stopped; nothing was evicted".to_owned(),
            [report] if self.nodes == 1 => report.message.clone(),
            more => {
                let words = more
                    .iter()
                    .map(|report| format!("{} ({:?})", report.node, report.result));
                format!("not drained: {}", words.collect::<Vec<_>>().join(", "))
            }
        };
        let well = bad.is_empty() && self.reports.len() == self.nodes;
        if self.args.output.is_some() {
            screen::print_json(&All { nodes: self.reports });
        }
        if well {
            return Ok(());
        }
        Err(Failure::new(exit.unwrap_or(Exit::Error), message))
    }
}

fn cordoned_words(node: &Ahead) -> String {
    format!(
        "{} is cordoned, by {}: {}",
        node.node,
        node.choice.words(),
        counted(counts(&node.found))
    )
}

fn tell(quiet: bool, line: &str) {
    if !quiet {
        screen::print(&[Line::plain(format!("{} {line}", Moment::now().clock()))]);
    }
}

/// Takes this command's marks off, whoever's run has put them on.
async fn cancel(cluster: &Cluster, nodes: &[String]) -> Result<(), Failure> {
    for node in nodes {
        let seen = marks::find(cluster, node).await?;
        let uid = seen.metadata.uid.clone().unwrap_or_default();
        let words = if marks::are_on(&seen) {
            match marks::lift(cluster, node, &uid).await? {
                Lifted::Schedulable => "the marks are lifted, it takes pods again",
                Lifted::Cordoned => {
                    "the marks are lifted, somebody else's cordon stays: kubectl uncordon takes that off"
                }
                Lifted::Gone => "the node is gone",
            }
        } else {
            "it has no marks of this command; nothing was changed"
        };
        screen::print(&[Line::plain(format!("{node}: {words}"))]);
    }
    Ok(())
}
