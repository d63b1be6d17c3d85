use std::time::Duration;

use lockkeeper_kube_util::Clock;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::fake::{Ahead, Line, Server};
use super::*;
use crate::cache::SharedCache;
use crate::health::Health;
use crate::leadership::Leadership;
use crate::server_clock::ServerClock;

/// A running elector and the line that it has to the server.
struct Candidate {
    line: watch::Sender<Line>,
    leading: watch::Receiver<bool>,
    leadership: Leadership,
    ahead: Ahead,
    health: Health,
    cache: SharedCache,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Candidate {
    fn start(server: &Server, name: &str) -> Self {
        Self::start_with(server, name, Ahead::default(), Some(Duration::from_secs(30)))
    }

    fn start_with(server: &Server, name: &str, ahead: Ahead, max_clock_skew: Option<Duration>) -> Self {
        let line = watch::Sender::new(Line::Up);
        let (sender, leading) = watch::channel(false);
        let stop = CancellationToken::new();
        let (server_clock, health) = (ServerClock::default().limited(max_clock_skew), Health::default());
        let client = server.client(&line, &ahead, &server_clock);
        let (leadership, cache) = (Leadership::default(), SharedCache::default());
        let lease = LeaseConfig {
            client: client.clone(),
            watch: client,
            pace: Pace::default(),
            namespace: "default".into(),
            name: "lock".into(),
            identity: name.into(),
            clock: Clock::machine(),
            leadership: leadership.clone(),
            server_clock,
            health: health.component("election", Duration::from_mins(1)),
            cache: cache.clone(),
        };
        let task = tokio::spawn(run(lease, sender, stop.clone()));
        Self {
            line,
            leading,
            leadership,
            ahead,
            health,
            cache,
            stop,
            task,
        }
    }

    fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    fn rewinds(&self) -> u64 {
        self.cache.read().rewind().map_or(0, |rewind| rewind.number)
    }

    /// Seconds until it leads, or until it leads no more.
    async fn until(&mut self, leads: bool) -> f64 {
        let start = Instant::now();
        timeout(Duration::from_mins(1), self.leading.wait_for(|now| *now == leads))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(self.leadership.holds(), leads, "writes heed it");
        start.elapsed().as_secs_f64()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_elector_leads_at_once() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    assert!(a.until(true).await < 0.1);
    let spec = server.spec();
    assert_eq!(
        (&spec["holderIdentity"], &spec["leaseDurationSeconds"]),
        (&"a".into(), &8.into())
    );
    assert_eq!(spec["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_minute_costs_twenty_writes_and_nothing_else() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    let b = Candidate::start(&server, "b");
    sleep(Duration::from_secs(5)).await;
    server.take_requests();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(server.take_requests(), ["PUT"; 20]);
    assert!(a.leads() && !b.leads());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_replaced_when_its_lease_ends() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    let mut b = Candidate::start(&server, "b");
    sleep(Duration::from_secs(10)).await;
    a.task.abort();
    let seconds = b.until(true).await;
    assert!((5.0..=8.2).contains(&seconds), "{seconds}");
    assert_eq!(server.spec()["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_asked_to_stop_hands_over_at_once() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    let mut b = Candidate::start(&server, "b");
    sleep(Duration::from_secs(10)).await;
    a.stop.cancel();
    assert!(b.until(true).await < 0.5);
    a.task.await.unwrap();
    assert_eq!(server.holder().as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_the_next_one_begins() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    let mut b = Candidate::start(&server, "b");
    sleep(Duration::from_secs(10)).await;
    a.line.send_replace(Line::Cut);
    let (stepped_down, took_over) = tokio::join!(a.until(false), b.until(true));
    assert!(stepped_down <= 6.0, "{stepped_down}");
    assert!(took_over - stepped_down >= 1.9, "{took_over} - {stepped_down}");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_is_lost_does_not_end_the_leadership() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    sleep(Duration::from_millis(2500)).await;
    a.line.send_replace(Line::Deaf);
    sleep(Duration::from_secs(1)).await;
    a.line.send_replace(Line::Up);
    sleep(Duration::from_secs(20)).await;
    assert!(a.leads() && !a.leading.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_elector_that_cannot_watch_takes_over_all_the_same() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    let mut b = Candidate::start(&server, "b");
    sleep(Duration::from_secs(5)).await;
    // Its watch has seen the Lease and then hangs for ever; only its reads come through.
    b.line.send_replace(Line::Cut);
    sleep(Duration::from_secs(30)).await;
    b.line.send_replace(Line::Up);
    a.task.abort();
    let seconds = b.until(true).await;
    assert!(seconds <= 9.5, "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    server.delete();
    sleep(Duration::from_secs(4)).await;
    assert!(a.leads());
    assert_eq!(server.holder().as_deref(), Some("a"));
    assert!(
        a.leading.has_changed().unwrap(),
        "it must not lead while there is no Lease"
    );
}

#[tokio::test(start_paused = true)]
async fn there_are_never_two_leaders_and_in_the_end_there_is_one() {
    for seed in 1..=20 {
        let server = Server::new();
        let candidates = ["a", "b", "c"].map(|name| Candidate::start(&server, name));
        let mut dice = Dice(seed);
        for _ in 0..200 {
            let candidate = &candidates[dice.roll(3)];
            let line = [Line::Up, Line::Up, Line::Cut, Line::Deaf, Line::Refusing][dice.roll(5)];
            candidate.line.send_replace(line);
            for _ in 0..dice.roll(40) {
                sleep(Duration::from_millis(97)).await;
                let leaders = candidates.iter().filter(|candidate| candidate.leads()).count();
                assert!(leaders <= 1, "seed {seed}: {leaders} leaders");
            }
        }
        for candidate in &candidates {
            candidate.line.send_replace(Line::Up);
        }
        sleep(Duration::from_secs(30)).await;
        assert_eq!(
            candidates.iter().filter(|candidate| candidate.leads()).count(),
            1,
            "seed {seed}"
        );
        for candidate in candidates {
            assert_eq!(candidate.rewinds(), 0, "seed {seed}: the data never went back");
            candidate.task.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_set_wrong_hands_over_and_says_so() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    let mut b = Candidate::start(&server, "b");
    sleep(Duration::from_secs(10)).await;
    assert_eq!((a.health.ready(), b.health.ready()), (Ok(()), Ok(())));
    a.ahead.set(45);
    // With the next renewal.
    assert!(a.until(false).await <= 3.1);
    assert!(b.until(true).await < 0.5);
    let reason = a.health.ready().unwrap_err();
    assert!(
        reason.starts_with("election: the clock of this machine is 4"),
        "{reason}"
    );
    assert!(
        reason.contains("ahead of that of the API server, more than 30 s"),
        "{reason}"
    );
    assert_eq!(a.health.alive(), Ok(()), "a restart would not help");
    a.ahead.set(0);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(a.health.ready(), Ok(()), "the clock is right again");
    b.stop.cancel();
    assert!(a.until(true).await < 1.0);
}

#[tokio::test(start_paused = true)]
async fn no_replica_leads_while_all_clocks_differ_from_that_of_the_server() {
    let server = Server::new();
    let limit = Some(Duration::from_secs(30));
    let clocks = [Ahead::default(), Ahead::default()];
    for clock in &clocks {
        clock.set(-3600);
    }
    let [first, second] = clocks.clone();
    let a = Candidate::start_with(&server, "a", first, limit);
    let b = Candidate::start_with(&server, "b", second, limit);
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        assert!(!a.leads() && !b.leads());
    }
    assert!(a.health.ready().is_err() && b.health.ready().is_err());
    assert_eq!(server.holder(), None, "no replica takes what it must not use");
    let requests = server.take_requests();
    let reads = requests.iter().filter(|request| *request == "GET").count();
    assert!(reads <= 20, "a few reads a minute: {requests:?}");
    for clock in &clocks {
        clock.set(0);
    }
    sleep(Duration::from_secs(11)).await;
    assert!(a.leads() != b.leads());
}

#[tokio::test(start_paused = true)]
async fn a_difference_of_clocks_is_accepted_if_there_is_no_limit() {
    let server = Server::new();
    let clock = Ahead::default();
    clock.set(3600);
    let mut a = Candidate::start_with(&server, "a", clock, None);
    a.until(true).await;
    assert_eq!(a.health.ready(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn leader_and_follower_notice_that_the_server_was_restored_from_a_backup() {
    let server = Server::new();
    let mut a = Candidate::start(&server, "a");
    a.until(true).await;
    let b = Candidate::start(&server, "b");
    sleep(Duration::from_secs(10)).await;
    let backup = server.backup();
    sleep(Duration::from_mins(10)).await;
    assert_eq!((a.rewinds(), b.rewinds()), (0, 0));
    server.restore(backup);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((a.rewinds(), b.rewinds()), (1, 1), "each lists again, once");
    sleep(Duration::from_mins(1)).await;
    assert!(a.leads() != b.leads(), "one leads after that");
    server.take_requests();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(server.take_requests(), ["PUT"; 20], "both see the Lease again");
    assert_eq!((a.rewinds(), b.rewinds()), (1, 1));
}

#[test]
fn a_restarted_process_has_another_identity() {
    let (first, second) = (identity("pod-0"), identity("pod-0"));
    assert!(first.starts_with("pod-0_"));
    assert_ne!(first, second);
}

/// A small random number generator, so that a seed replays.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}
