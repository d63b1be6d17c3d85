//! The chart's renderings for a matrix of values: `charts/lockkeeper/tests/values/*.yaml`, each with its expected text.

use expect_test::expect_file;
use lockkeeper_e2e::helm::{Version, chart};
use lockkeeper_e2e::renderings::{render, without_definitions};

use super::{file, helm, rendered};

#[test]
fn each_set_of_values_renders_as_expected() {
    for (case, text) in rendered() {
        let path = format!("charts/lockkeeper/tests/golden/{}.yaml", case.name);
        expect_file![file(&path)].assert_eq(&without_definitions(text));
    }
}

#[test]
fn helm_3_renders_the_same() {
    let (three, _home) = helm(Version::Three);
    for (case, new) in rendered() {
        let old = render(&three, case).unwrap();
        assert_eq!(lines(&old), lines(new), "{}", case.name);
    }
}

#[test]
fn helm_lint_of_both_versions_passes() {
    for version in Version::ALL {
        let (helm, _home) = helm(version);
        for (case, _) in rendered() {
            let args = ["lint", "--strict", &chart(), "--values", &case.values];
            let output = helm.run(&args).unwrap();
            assert!(output.contains("0 chart(s) failed"), "{}: {output}", case.name);
        }
    }
}

/// The renderings differ only in empty lines between documents.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty()).collect()
}
