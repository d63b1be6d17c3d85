//! Which boot the host is in, and for how long.

use std::path::Path;
use std::time::Duration;

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

/// Reads for how long the host has been up, by a clock that cannot be set and that goes on during a suspend.
pub fn uptime(path: &Path) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read the uptime from {}", path.display()))?;
    let seconds: Option<f64> = text.split_whitespace().next().and_then(|word| word.parse().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .with_context(|| format!("{} holds no uptime; is it the kernel's /proc/uptime?", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_tells_its_uptime_and_another_file_is_an_error_that_names_it() {
        assert!(uptime("/proc/uptime".as_ref()).unwrap() > Duration::ZERO);
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "up", "-1 2"] {
            std::fs::write(file.path(), text).unwrap();
            let error = uptime(file.path()).unwrap_err().to_string();
            assert!(error.contains(&file.path().display().to_string()), "{error}");
        }
    }

    #[test]
    fn an_empty_boot_id_is_an_error_that_names_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = boot_id(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
