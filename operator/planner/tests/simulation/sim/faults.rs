//! What can go wrong, by kind; each seed switches on about half of it, so that faults meet in ever other company.

use super::rng::Rng;

macro_rules! faults {
    ($($name:ident $text:literal),* $(,)?) => {
        /// One kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($name),* }

        impl Fault {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it is called in reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

faults! {
    // The operator and what is between it and the API server.
    Crash "crash between two writes",
    CrashInRelease "crash between the two calls of a write",
    ReplyLost "reply of a write lost",
    ServerTrouble "write refused with 5xx",
    Stall "operator stalls in mid-plan",
    TwoLeaders "two operators lead",
    Blind "all watches of an operator stand still",
    Takeover "the other operator leads",
    ClockSkew "operator's clock is off",
    ClockFarOff "operator's clock is off by days",
    ClockBehind "operator's clock stays behind by days",
    NoLeader "no operator leads for long",
    Outage "no one reaches the API server",
    LagNodes "watch of nodes lags",
    LagReboots "watch of nodereboots lags",
    LagPolicies "watch of policies lags",
    LagLock "watch of the lock lags",
    Coalesced "events coalesced",
    Relist "events missed, listed anew",
    Denied "writes about a node or the lock denied for long",
    Perturbed "candidates seen in another order",
    // Hosts, kubelets, agents, pods.
    Dies "node dies by itself",
    NeverBack "node never comes back",
    OldBoot "node comes back with the old boot id",
    Flaps "node flaps",
    SlowBoot "node is slow to come back",
    StillRequired "reboot still required afterwards",
    ReasonsChange "reboot required after each boot, for another reason",
    AgentLate "agent answers late",
    AgentStale "agent acts on an old order",
    AgentSuspended "agent is suspended with an order",
    AgentUnconfined "agent is not confined",
    AgentRefuses "agent refuses",
    RefusesAndReboots "agent refuses and the host reboots",
    AgentFails "host does not reboot",
    AgentRestarts "agent starts anew",
    Undecodable "agent reports what no operator can decode",
    Blocked "eviction blocked for long",
    Undrainable "preflight finds a pod that cannot leave",
    PodLands "pod lands after the cordon",
    // People and other programs.
    Cordons "person cordons",
    Uncordons "person uncordons",
    Holds "person holds",
    HoldEnds "person ends a hold",
    Approves "person approves",
    Acknowledges "person acknowledges the breaker",
    Requests "person requests a reboot",
    Retries "person retries",
    Releases "person releases",
    Cancels "person cancels",
    OldCommand "command for another operation",
    LockEdited "holders edited by hand",
    LockLost "lock deleted",
    RecordLost "nodereboot deleted",
    LimitEdited "limit edited",
    Suspends "policy suspended or resumed",
    WindowEdited "windows edited",
    PolicyLost "policy deleted",
    Relabelled "node changes its policy",
    Remade "node deleted and made again",
    Deleted "node deleted",
    // In few seeds, as what was written before it is hardly tested any more after it.
    Restored "etcd is restored from a backup",
    // DaemonSets, last: they are drawn from a generator of their own.
    DaemonSlow "DaemonSet's pod is slow after a boot",
    DaemonNever "DaemonSet's pod never gets ready",
    DaemonGone "DaemonSet deleted",
}

impl Fault {
    /// Whether a generator of its own says which seeds know it.
    fn is_apart(self) -> bool {
        matches!(
            self,
            Self::Restored | Self::DaemonSlow | Self::DaemonNever | Self::DaemonGone
        )
    }
}

/// Which faults a seed knows, how often they come, and how many there were.
#[derive(Clone, Debug)]
pub struct Faults {
    enabled: Vec<bool>,
    pub counts: Vec<u64>,
    /// How often, in a thousand draws, something that can go wrong does.
    pub rate: usize,
    /// Nothing goes wrong any more.
    pub off: bool,
}

impl Faults {
    /// None at all.
    pub fn none() -> Self {
        Self {
            enabled: vec![false; Fault::ALL.len()],
            counts: vec![0; Fault::ALL.len()],
            rate: 0,
            off: true,
        }
    }

    /// About half of them.
    pub fn some(rng: &mut Rng) -> Self {
        let odds = rng.pick(&[150, 500, 500, 850]);
        Self {
            enabled: Fault::ALL
                .iter()
                .map(|fault| !fault.is_apart() && rng.chance(odds))
                .collect(),
            rate: rng.pick(&[5, 15, 40, 100]),
            off: false,
            ..Self::none()
        }
    }

    /// These and no others, often.
    pub fn only(chosen: &[Fault]) -> Self {
        let mut faults = Self {
            rate: 100,
            off: false,
            ..Self::none()
        };
        for fault in chosen {
            faults.enable(*fault);
        }
        faults
    }

    /// Those that make two operators who lead at the same time misunderstand each other.
    pub fn two_leaders(rng: &mut Rng) -> Self {
        const TWO_LEADERS: &[Fault] = &[
            Fault::Blind,
            Fault::LagNodes,
            Fault::LagReboots,
            Fault::LagLock,
            Fault::Stall,
            Fault::Perturbed,
            Fault::Uncordons,
            Fault::NeverBack,
            Fault::Retries,
        ];
        Self {
            enabled: Fault::ALL
                .iter()
                .map(|fault| TWO_LEADERS.contains(fault) && rng.chance(800))
                .collect(),
            rate: rng.pick(&[10, 40, 100]),
            off: false,
            ..Self::none()
        }
    }

    /// Switches one on.
    pub fn enable(&mut self, fault: Fault) {
        self.enabled[fault as usize] = true;
    }

    /// Whether the seed knows it, also once all is quiet.
    pub fn is_known(&self, fault: Fault) -> bool {
        self.enabled[fault as usize]
    }

    pub fn on(&self, fault: Fault) -> bool {
        !self.off && self.enabled[fault as usize]
    }

    /// Draws, and counts what comes.
    pub fn strikes(&mut self, fault: Fault, rng: &mut Rng) -> bool {
        self.often(fault, self.rate, rng)
    }

    /// Draws with odds of its own.
    pub fn often(&mut self, fault: Fault, per_mille: usize, rng: &mut Rng) -> bool {
        let strikes = self.on(fault) && rng.chance(per_mille);
        if strikes {
            self.count(fault);
        }
        strikes
    }

    pub fn count(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// One of those that people do, if any is on.
    pub fn any_of(&self, all: &[Fault], rng: &mut Rng) -> Option<Fault> {
        let on: Vec<Fault> = all.iter().copied().filter(|fault| self.on(*fault)).collect();
        (!on.is_empty()).then(|| rng.pick(&on))
    }
}
