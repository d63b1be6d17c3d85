//! Every `kubectl lockkeeper` command on a page of the documentation is one that the plugin parses.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use super::Args;

#[test]
fn every_command_in_the_documentation_parses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tried = 0;
    for page in pages(&root) {
        let text = fs::read_to_string(&page).unwrap();
        for command in commands(&text) {
            let name = page.display();
            tried += 1;
            // A page that speaks of a command without its arguments.
            if Args::command().find_subcommand(&command).is_some() {
                continue;
            }
            let arguments = std::iter::once("kubectl-lockkeeper").chain(command.split_whitespace());
            if let Err(error) = Args::try_parse_from(arguments) {
                panic!("{name}: kubectl lockkeeper {command}: {error}");
            }
        }
    }
    assert!(tried > 20, "{tried} commands were found");
}

/// README, what is below `docs`, and the texts of the alerts.
fn pages(root: &Path) -> Vec<PathBuf> {
    let mut pages = vec![root.join("README.md"), root.join("charts/lockkeeper/files/alerts.yaml")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The commands of a page: what stands in backticks, or after a prompt.
fn commands(text: &str) -> Vec<String> {
    let prompts = text.lines().filter_map(|line| line.trim_start().strip_prefix("$ "));
    // In a fenced block and in a text of several lines there is an even number of backticks before each piece.
    let code = text.split('`').skip(1).step_by(2).filter(|code| !code.contains('\n'));
    let ours = prompts
        .chain(code)
        .filter_map(|command| command.strip_prefix("kubectl lockkeeper "));
    ours.map(|command| {
        command
            .split(['#', '|', '>', ';'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    })
    .collect()
}
