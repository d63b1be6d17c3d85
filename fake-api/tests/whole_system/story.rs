//! One run of the story: everything is started, some processes crash, and in the end the cluster is looked at.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_fake_api::{CrashFilter, FakeApi, Refusal, Request, Verb};
use lockkeeper_kube_util::Clock;
use lockkeeper_operator::election::Pace;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep, sleep_until};

use super::cluster::{
    BootTime, Machine, changes, create_nodes, create_workload, end_pods, live, machines, replace_pod, usual_boot,
};
use super::end::{dump, problems};
use super::processes::{Process, Program, RESTART};
use super::truth::Truth;

/// A story that runs.
pub struct Story {
    pub api: FakeApi,
    pub clock: Clock,
    pub machines: Vec<Arc<Machine>>,
    pub operator: Process,
    pub truth: Truth,
    started: Instant,
}

/// How a story ended.
pub struct End {
    /// What is left.
    pub dump: String,
    /// Which safety rules were broken on the way, and what must not be left.
    pub problems: Vec<String>,
    /// How many crashes there were.
    pub crashes: usize,
    /// Every request.
    pub log: Vec<String>,
}

/// Runs a test in paused time on one thread.
pub fn in_paused_time<T>(test: impl Future<Output = T>) -> T {
    paused_runtime().block_on(test)
}

/// A runtime of one thread, whose time goes on only while nothing else does.
pub fn paused_runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap()
}

/// Tells the reader of the tests something, also if they pass.
pub fn tell(what: &str) {
    // The macros' output is shown for failed tests only.
    let _ = writeln!(std::io::stderr(), "whole system: {what}");
}

impl Story {
    /// The cluster of the usual story, before any process of Lockkeeper runs.
    pub fn new() -> Self {
        let story = Self::with_nodes(usual_boot);
        create_workload(&story.api, story.clock);
        tokio::spawn(replace_pod(story.api.clone(), changes(&story.api, &["pods"])));
        story
    }

    /// The usual story, but the first node needs only a soft-reboot.
    pub fn with_soft_reboot() -> Self {
        let story = Self::new();
        story.machines[0].host.needs_only_a_soft_reboot();
        story
    }

    /// A cluster of nodes that run nothing but a DaemonSet, before any process of Lockkeeper runs.
    pub fn with_nodes(boot_time: BootTime) -> Self {
        let noon: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let clock = Clock::steady_from(noon);
        let api = FakeApi::new(clock);
        // The agents' admission policy refuses their self-test.
        api.add_admission(|request| {
            let is_self_test = request.manager() == "lockkeeper-self-test";
            is_self_test.then(|| {
                Refusal::new(
                    403,
                    "Forbidden",
                    "ValidatingAdmissionPolicy 'lockkeeper-agent' denied the request",
                )
            })
        });
        let truth = Truth::observe(&api);
        create_nodes(&api, clock);
        let machines = machines(&api, clock, boot_time);
        tokio::spawn(end_pods(api.clone(), changes(&api, &["pods"])));
        let operator = Process::new(&api, clock, Program::Operator(Pace::default()));
        Self {
            api,
            clock,
            machines,
            operator,
            truth,
            started: Instant::now(),
        }
    }

    /// Starts everything.
    pub fn start(&mut self) {
        self.started = Instant::now();
        for machine in &self.machines {
            machine.agent.lock().unwrap().start();
            let (api, truth) = (self.api.clone(), self.truth.clone());
            tokio::spawn(live(machine.clone(), api, self.clock, truth));
        }
        self.operator.start();
    }

    /// Goes on until so much time has passed since the start; a process that crashes is started again.
    pub async fn run_until(&mut self, time: Duration) -> usize {
        let mut crashes = 0;
        loop {
            tokio::select! {
                biased;
                name = self.api.crashed() => {
                    crashes += 1;
                    self.restart(&name).await;
                }
                () = sleep_until(self.started + time) => return crashes,
            }
        }
    }

    async fn restart(&mut self, client: &str) {
        if client == self.operator.client_name() {
            self.operator.kill();
            sleep(RESTART).await;
            self.operator.start();
        }
        for machine in &self.machines {
            let is_it = |agent: &Process| agent.client_name() == client;
            if is_it(&machine.agent.lock().unwrap()) {
                machine.agent.lock().unwrap().kill();
                sleep(RESTART).await;
                // A host that went down meanwhile starts it when it is up.
                machine.agent.lock().unwrap().start_again(client);
            }
        }
    }

    /// Ends the story.
    pub fn end(self, crashes: usize) -> End {
        let machines = || self.machines.iter().map(|machine| &**machine);
        let mut found = self.truth.violations();
        found.extend(problems(&self.api, machines()));
        End {
            dump: dump(&self.api, machines()),
            problems: found,
            crashes,
            log: self.api.take_log(),
        }
    }
}

/// The story in which the client with this prefix crashes right after its n-th write.
pub fn with_crash(new: fn() -> Story, prefix: &'static str, number: usize, length: Duration) -> End {
    in_paused_time(async {
        let mut story = new();
        story.api.crash_at(number, counts(prefix));
        story.start();
        let crashes = story.run_until(length).await;
        story.end(crashes)
    })
}

/// Each write of a client counts, but for the renewals of its Lease, which change nothing that anything depends on.
pub fn counts(prefix: &'static str) -> CrashFilter {
    Box::new(move |request: &Request| {
        let spec = &request.body["spec"];
        let renews = request.resource.plural == "leases"
            && request.verb == Verb::Replace
            && spec["acquireTime"] != spec["renewTime"];
        request.client.starts_with(prefix) && !renews
    })
}
