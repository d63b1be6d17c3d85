//! The values that pages set with `--set` exist in the chart.

use lockkeeper_e2e::binaries::Binaries;
use lockkeeper_e2e::helm::{Helm, Version, chart};

use super::pages;

#[test]
fn the_chart_accepts_every_value_that_a_page_sets() {
    let home = tempfile::tempdir().unwrap();
    let helm = Helm::new(&Binaries::find_or_build().unwrap(), Version::Four, home.path());
    let mut found = 0;
    for (path, text) in pages() {
        let lines = text.lines().filter(|line| line.trim_start().starts_with("$ helm "));
        for line in lines {
            let mut words = line.split_whitespace().skip_while(|word| *word != "--set");
            let Some(values) = words.nth(1) else { continue };
            found += 1;
            let chart = chart();
            let rendered = helm.run(&["template", "lockkeeper", &chart, "--set", values]);
            rendered.unwrap_or_else(|error| panic!("{}: {line}: {error:#}", path.display()));
        }
    }
    assert!(found >= 2, "the recipes for Ubuntu and SELinux set values: {found}");
}
