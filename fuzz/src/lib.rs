//! Feeds a parser of foreign bytes with inputs: those of its corpus, and mutations of them.
//!
//! `corpus/<parser>/` holds the inputs of a parser, one a file. A test gives each of them, and then mutations, to the parser
//! and judges the result. An input on which the judge panics is written into the corpus, so that every later run begins
//! with it. `FUZZ_SECONDS` makes a run as long as that, on other mutations each time.

#![warn(missing_docs)]

mod mutation;
mod random;

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use mutation::mutated;
use random::Random;

/// So many mutations are tried unless `FUZZ_SECONDS` says how long.
const MUTATIONS: usize = 2_000;

/// Gives the inputs of this parser's corpus and mutations of them to `judge`, which panics if the parser is wrong.
///
/// # Panics
///
/// As `judge` does, after the input was written into the corpus; and if the corpus cannot be read or is empty.
pub fn fuzz(parser: &str, judge: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(parser);
    let corpus = match read(&directory) {
        Ok(corpus) => corpus,
        Err(error) => unreachable!("read the corpus {}: {error}", directory.display()),
    };
    assert!(!corpus.is_empty(), "the corpus {} is empty", directory.display());
    let run = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| judge(input))) {
            keep(&directory, input);
            resume_unwind(panic);
        }
    };
    for input in &corpus {
        run(input);
    }
    let (mut random, limit) = match seconds() {
        Some(limit) => (Random::new(RandomState::new().hash_one(parser)), Some(limit)),
        None => (Random::new(0), None),
    };
    let started = Instant::now();
    for count in 0.. {
        match limit {
            Some(limit) if started.elapsed() >= limit => break,
            None if count >= MUTATIONS => break,
            Some(_) | None => run(&mutated(&corpus, &mut random)),
        }
    }
}

fn seconds() -> Option<Duration> {
    let seconds = env::var("FUZZ_SECONDS").ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The inputs in the order of their names.
fn read(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(directory)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// Writes an input into the corpus, where it is found by every later run.
fn keep(directory: &Path, input: &[u8]) {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = directory.join(format!("found-{:016x}", hasher.finish()));
    match fs::write(&path, input) {
        Ok(()) => eprintln!("the input is kept in {}", path.display()),
        Err(error) => eprintln!("the input cannot be kept in {}: {error}: {input:?}", path.display()),
    }
}
