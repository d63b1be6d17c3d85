//! The page about drains names a test for each row of its tables, and each of these tests exists.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_test_named_in_docs_drain_md_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/drain.md")).unwrap();
    let (_, tested) = page
        .split_once("\n## Where each rule is tested\n")
        .expect("the page has that section");
    let heading = |line: &&str| line.starts_with("| what") || line.starts_with("| **");
    let rows = tested.lines().filter(|line| line.starts_with("| ") && !heading(line));
    let mut sources = String::new();
    for folder in ["operator/drain/src/tests", "operator/planner/tests", "e2e/tests"] {
        read_all(&root.join(folder), &mut sources);
    }
    let mut count = 0;
    for row in rows {
        let (_, tests) = row.trim_end_matches(" |").rsplit_once(" | ").expect("two columns");
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "a row without a test: {row}");
        for name in names {
            assert!(
                sources.contains(&format!("fn {name}(")),
                "there is no test {name}: {row}"
            );
        }
        count += 1;
    }
    assert!(count >= 40, "only {count} rows");
}

fn read_all(folder: &Path, into: &mut String) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
