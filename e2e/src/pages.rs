//! What the documentation tells people to run, for tests that run it.

use anyhow::{Context, Result};

use crate::install::repository;

/// The fenced block that follows `<!-- run: NAME -->` on a page of the repository, without its fences.
pub fn block(page: &str, name: &str) -> Result<String> {
    let path = repository().join(page);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mark = format!("<!-- run: {name} -->\n");
    let after = text.split_once(&mark).map(|(_, after)| after);
    let after = after.with_context(|| format!("{page} has no {}", mark.trim()))?;
    let fenced = after.split("```").nth(1);
    let (_language, block) = fenced
        .and_then(|fenced| fenced.split_once('\n'))
        .with_context(|| format!("{page}: no fenced block follows {}", mark.trim()))?;
    Ok(block.to_owned())
}
