//! Whatever the other container writes into the shared directory.

// Helpers of tests, outside of the test functions that clippy.toml exempts.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;
use std::fs;

use lockkeeper_channel::{Channel, FactsWanted, HostAnswer, HostFacts, HostOrder, HostUpdates};
use lockkeeper_fuzz::fuzz;
use serde::Serialize;
use serde::de::DeserializeOwned;

const FILE: &str = "file.json";

/// A file that can be read is the same once it was written again.
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(channel: &Channel) {
    match channel.read::<T>(FILE) {
        Ok(Some(read)) => {
            channel.write("again.json", &read).unwrap();
            assert_eq!(channel.read::<T>("again.json").unwrap(), Some(read));
        }
        Ok(None) => unreachable!("the file is there"),
        Err(error) => assert!(error.to_string().contains(FILE), "{error}"),
    }
}

#[test]
fn a_file_is_read_whole_or_refused_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let channel = Channel::new(directory.path());
    fuzz("channel", |input| {
        fs::write(directory.path().join(FILE), input).unwrap();
        assert_round_trip::<FactsWanted>(&channel);
        assert_round_trip::<HostFacts>(&channel);
        assert_round_trip::<HostOrder>(&channel);
        assert_round_trip::<HostAnswer>(&channel);
        assert_round_trip::<HostUpdates>(&channel);
    });
}
