//! Which boot the host is in.

use std::path::Path;

use anyhow::{Context, ensure};

/// Reads the boot id, which every decision needs.
pub fn boot_id(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read the boot id from {}", path.display()))?;
    let id = text.trim();
    ensure!(
        !id.is_empty() && id.len() <= 64,
        "{} holds no boot id; is it the kernel's random/boot_id?",
        path.display()
    );
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_boot_id_is_an_error_that_names_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = boot_id(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
