//! Our own programs, as cargo builds them beside this one.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The path of one of the workspace's programs: in the directory that this process was built into.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program's own file")?;
    let dir = own
        .ancestors()
        .skip(1)
        .find(|dir| !dir.ends_with("deps"))
        .context("find the target directory")?;
    let path = dir.join(name);
    ensure!(
        path.exists(),
        "{} is not built: cargo build --workspace --bins",
        path.display()
    );
    Ok(path)
}
