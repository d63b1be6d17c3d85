//! ostree: Fedora CoreOS and its relatives, and bootc. A deployment waits for the next boot.
//!
//! A staged deployment shows in a file that everybody may read. A deployment that became the default without being staged,
//! such as by a rollback, shows on the bus only, in the answers of rpm-ostree; a host of bootc alone has no rpm-ostree.

use std::io;
use std::path::{Path, PathBuf};

use lockkeeper_channel::RPM_OSTREE;
use lockkeeper_channel::watch::Watched;

use super::detector::{BootSpan, Detector, Finding, Look, Scope, Seen};
use super::staged::{self, LOCKED, OSTREE, STAGED};
use super::updater::{Source, UpdatesFile};

/// The file in the host's `/run` that shows that it runs a deployment of ostree.
const BOOTED: &str = "ostree-booted";

/// Whether a deployment waits.
#[derive(Debug)]
pub(super) struct Ostree {
    run: PathBuf,
    rpm_ostree: Source,
}

impl Ostree {
    /// The host's `/run`, and what the actuator wrote.
    pub(super) fn new(run: &Path, updates: &UpdatesFile) -> Self {
        Self {
            run: run.to_owned(),
            rpm_ostree: Source::new(RPM_OSTREE, updates.clone(), true),
        }
    }

    /// Whether the host runs a deployment of ostree.
    pub(super) fn is_booted(run: &Path) -> bool {
        run.join(BOOTED).exists()
    }

    fn find(&self) -> io::Result<Option<Finding>> {
        let staged = staged::by_ostree(&self.run)?.filter(|staged| !staged.is_locked);
        Ok(staged.map(|staged| Finding {
            since: staged.since,
            signal: STAGED.to_owned(),
            file: format!("{OSTREE}/{STAGED}"),
            reasons: Ok(vec![format!("deployment {} is staged", staged.name)]),
            scope: Scope::Host,
        }))
    }
}

impl Detector for Ostree {
    fn name(&self) -> &'static str {
        OSTREE
    }

    fn watched(&self) -> Vec<Watched> {
        vec![
            Watched::new(&self.run, &[OSTREE]),
            Watched::new(self.run.join(OSTREE), &[STAGED, LOCKED]),
        ]
    }

    fn look(&self, _: BootSpan) -> Look {
        let seen = |source: &str, finding| Seen {
            source: source.to_owned(),
            finding,
        };
        Look {
            seen: vec![
                seen("staged deployment", self.find()),
                seen(RPM_OSTREE, self.rpm_ostree.find()),
            ],
            look_again: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::Utc;
    use lockkeeper_channel::{Channel, HostUpdates, UPDATES, Updater, UpdaterState};

    use super::*;

    struct Bench(tempfile::TempDir);

    impl Bench {
        /// A host on which rpm-ostree says this.
        fn new(state: UpdaterState, message: &str) -> Self {
            let bench = Self(tempfile::tempdir().unwrap());
            fs::create_dir(bench.0.path().join(OSTREE)).unwrap();
            fs::write(bench.0.path().join("boot_id"), "boot-a").unwrap();
            let updates = HostUpdates {
                boot_id: "boot-a".into(),
                updaters: vec![Updater::new(RPM_OSTREE, state, message)],
            };
            Channel::new(bench.0.path()).write(UPDATES, &updates).unwrap();
            bench
        }

        fn stage(&self, file: &str) {
            let from = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/data/ostree")
                .join(file);
            fs::copy(from, self.0.path().join(OSTREE).join(STAGED)).unwrap();
        }

        /// The reasons and the problems.
        fn look(&self) -> (Vec<String>, Vec<String>) {
            let run = self.0.path();
            let detector = Ostree::new(run, &UpdatesFile::new(run, &run.join("boot_id")));
            let boot = BootSpan {
                began: None,
                soft_rebooted: None,
                now: Utc::now(),
            };
            let (mut reasons, mut problems) = (vec![], vec![]);
            for seen in detector.look(boot).seen {
                match seen.finding {
                    Ok(finding) => reasons.extend(finding.into_iter().flat_map(|finding| finding.reasons.unwrap())),
                    Err(error) => problems.push(format!("{}: {error}", seen.source)),
                }
            }
            (reasons, problems)
        }
    }

    fn reasons(texts: &[&str]) -> (Vec<String>, Vec<String>) {
        (texts.iter().map(|&text| text.to_owned()).collect(), vec![])
    }

    #[test]
    fn a_staged_deployment_requires_a_reboot_unless_it_is_locked() {
        let bench = Bench::new(UpdaterState::Absent, "");
        assert_eq!(bench.look(), reasons(&[]));
        let staged = reasons(&["deployment fedora-coreos 1f3a227ae55d is staged"]);
        for (file, expected) in [
            ("staged", staged.clone()),
            ("locked", reasons(&[])),
            ("unlocked", staged.clone()),
        ] {
            bench.stage(file);
            assert_eq!(bench.look(), expected, "{file}");
        }
        fs::write(bench.0.path().join(OSTREE).join(LOCKED), "").unwrap();
        assert_eq!(bench.look(), reasons(&[]), "locked as ostree before 2023.8 does");
    }

    #[test]
    fn a_file_that_ostree_did_not_write_is_a_problem_and_requires_no_reboot() {
        let bench = Bench::new(UpdaterState::NotRequired, "");
        fs::write(bench.0.path().join(OSTREE).join(STAGED), "deployment").unwrap();
        let (reasons, problems) = bench.look();
        assert_eq!(reasons, [""; 0]);
        assert!(problems[0].contains("ostree admin status"), "{problems:?}");
    }

    #[test]
    fn what_rpm_ostree_says_counts_beside_the_file() {
        let rollback = "deployment 41.20241027.3.0 is the default, another one is booted";
        let bench = Bench::new(UpdaterState::Required, rollback);
        assert_eq!(bench.look(), reasons(&[rollback]));
        let bench = Bench::new(UpdaterState::Failing, "rpm-ostree does not answer");
        bench.stage("staged");
        let (found, problems) = bench.look();
        assert_eq!((found.len(), problems.len()), (1, 1), "{found:?} {problems:?}");
    }

    #[test]
    fn a_host_of_ostree_is_known_by_its_file() {
        let run = tempfile::tempdir().unwrap();
        assert!(!Ostree::is_booted(run.path()));
        fs::write(run.path().join(BOOTED), "").unwrap();
        assert!(Ostree::is_booted(run.path()));
    }
}
