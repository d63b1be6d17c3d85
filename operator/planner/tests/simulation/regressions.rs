//! Seeds that broke a rule once, and what it was. A change of the simulator gives a seed another story: what was found
//! is told again as a scenario in `tests/rules` where it can be.

pub(crate) const SEEDS: &[(u64, &str)] = &[
    (
        104,
        "a stale leader uncordoned a node that the other one was draining: uncordon looks at the record first",
    ),
    (
        734,
        "a node with marks of a lost operation was let in and cordoned a second time: they are lifted first",
    ),
    (
        905,
        "a leader that did not see the marks forgot the operation: the Node is looked at first",
    ),
    (
        1074,
        "an entry that was given back counted after those who were not cordoned yet: the cordoned count first",
    ),
    (
        200_490,
        "another node was cordoned in the pass that gave a cordoned one its entry back: it has its place at once",
    ),
    (
        700_719,
        "a node whose operation had ended, seen late with marks, entry, and not Ready, waited without a word: it is freed",
    ),
    (
        703_309,
        "check did not count the pace after an operation had ended: it took a node for one that could start",
    ),
    (
        704_425,
        "check counted a node as down under a policy that selects it no more: it refused a plan that was right",
    ),
    (
        202_316,
        "a view of the Nodes that lagged showed an older boot, which was taken for a proven reboot: the Node is looked at first",
    ),
    (
        20_016_068,
        "a stale leader took the marks of a node that the other one had just cordoned for those of an operation before",
    ),
    (
        20_016_261,
        "record and entry of a cordoned node were destroyed while it was down, and another went in: it counts as inside",
    ),
    (
        20_022_725,
        "two leaders each cordoned their first one of two that went in within a second: both name the same one as first",
    ),
    (20_029_591, "the same as 20016068, by a leader that had just begun"),
    (
        20_043_902,
        "a leader that had stood still began an operation whose entry was freed since: it looks at the lock first",
    ),
    (
        21_005_549,
        "a view of lock and Node that lagged made up an operation for one that had ended: it looks at the lock first",
    ),
    (
        21_009_135,
        "two leaders whose clocks differ gave the same id twice: the operation before is part of it",
    ),
    (
        22_035_202,
        "a node that went astray made its domain one that had begun, and check refused who followed it: it begins none",
    ),
    (
        22_007_477,
        "a policy that was deleted since let in two, of more nodes than it ever had: the policies are looked at first",
    ),
    (
        22_008_727,
        "a leader that did not see the marks freed the entry of a node whose record was deleted: it looks at the Node first",
    ),
    (22_009_806, "the same as 22008727, by a leader that had just begun"),
    (22_034_670, "the same as 22008727, after an uncordon by hand"),
    (
        22_019_730,
        "two leaders took each other's entry from an operation that they did not see: they look at the record first",
    ),
    (
        22_043_385,
        "a leader freed an entry whose operation it did not see and gave it to another node: it looks at the record first",
    ),
    (
        22_087_851,
        "an entry was given back to an operation that had ended, and its node cordoned: both look at the record first",
    ),
    (
        22_019_969,
        "an operation that had ended before the last one was made up anew from marks seen late: they must stand",
    ),
    (
        23_004_058,
        "the simulator took a host that answered before it reported for one that goes down by order: it reports first",
    ),
    (
        30_090_520,
        "a node that went astray counted under the first of its policies: under each of them",
    ),
    (
        33_011_972,
        "entry and record of a cordoned node were destroyed by hand and its marks not seen: the cordoned Nodes are listed \
         first",
    ),
    (
        32_015_066,
        "a record was deleted after the host had been asked and its node released before it went down: nothing tells of \
         the order any more, so the judge takes that release for an uncordon by hand",
    ),
    (
        35_057_406,
        "two released nodes whose windows never overlap: one is always outside its window, and the judge saw no rest",
    ),
    (
        41_566_527,
        "two leaders whose views of the policies differed wrote the names of the nodes' policies in turns for hours: the \
         policies are looked at first",
    ),
    (
        41_591_797,
        "a record was deleted after the host had been asked, a person retried what was made up for it, and the node was \
         put back before it went down: the agent says so to the new record, and retry waits for its word",
    ),
    (
        41_858_737,
        "a hand wrote the same id into the lock twice, and the node went in under it twice: the simulator's hand writes \
         another one each time",
    ),
    (
        50_011_483,
        "record and entry were destroyed after the host had been asked, and its marks lifted before it went down: they stay \
         until the agent has said that the host stays up",
    ),
    (
        50_202_758,
        "a host that had accepted a reboot came back in the same boot, and only its marks were left: somebody looks at it, as \
         the runbook says",
    ),
    (
        60_360_977,
        "a clock was set back behind the last start under a policy without a pace: its nodes waited for a pace, and the \
         operator's own node was let in before them",
    ),
    (
        60_385_242,
        "a person released what was made up for a lost record, and the node was inside again when the host went down for the \
         order of before: released by a person's word, cordoned and empty",
    ),
    (
        60_400_900,
        "the same, and the host went down before the release was in the history: it is a person's word once it is written",
    ),
    (
        70_944_253,
        "a view of the lock lagged, and a node with our marks that had gone down counted as inside by these alone: the check \
         held that it could go in before the operator's own node",
    ),
    (
        70_737_398,
        "Nodes were deleted and made again while the view of the Nodes lagged for hours: records were made for the dead ones, \
         collected, and made again some five times a second: the Node is looked at before the second one",
    ),
];
