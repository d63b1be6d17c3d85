//! The matrix of values that the chart is tested with.

use anyhow::{Context, Result};

use crate::helm::{Helm, chart};
use crate::install::repository;

/// One set of values.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name without its ending.
    pub name: String,
    /// The file's path.
    pub values: String,
    /// Kinds beyond Kubernetes' own that the cluster is said to have: `# api: group/version/Kind` in the file.
    pub kinds: Vec<String>,
}

/// All sets, by name.
pub fn cases() -> Result<Vec<Case>> {
    let folder = repository().join("charts/lockkeeper/tests/values");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry.context("list the chart's test values")?.path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# api: "));
        cases.push(Case {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            values: path.to_string_lossy().into_owned(),
            kinds: kinds.map(str::to_owned).collect(),
        });
    }
    cases.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(cases)
}

/// What `helm template` makes of a set, hooks included.
pub fn render(helm: &Helm, case: &Case) -> Result<String> {
    let chart = chart();
    let mut args = vec!["template", "lockkeeper", &chart, "--namespace", "lockkeeper-system"];
    args.extend(["--values", &case.values]);
    for kind in &case.kinds {
        args.extend(["--api-versions", kind]);
    }
    helm.run(&args)
}

/// A rendering without the definitions, which are generated and compared elsewhere.
pub fn without_definitions(text: &str) -> String {
    let documents = text.split("---\n").filter(|document| !document.trim().is_empty());
    let kept = documents.filter(|document| !document.contains("\nkind: CustomResourceDefinition\n"));
    let kept: Vec<String> = kept.map(|document| format!("---\n{}\n", document.trim_end())).collect();
    kept.concat()
}
