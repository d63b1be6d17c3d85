#!/bin/bash
# Runs all checks that need no cluster and no tests: format, lints, purity, words, names of tests, imports,
# scripts, files of hosts, spelling, dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

e2e/cluster/packages.sh check
PATH=$(hack/check-tools.sh):$PATH
export PATH

hack/say "formatting"
cargo fmt --all -- --check

hack/say "lints"
cargo clippy --quiet --workspace --all-targets -- -D warnings

hack/say "the planner has no I/O and no hidden state, the actuator no network"
hack/purity.sh

hack/say "words that the glossary replaced"
hack/glossary

hack/say "names of tests"
hack/test-names

hack/say "files that import each other"
hack/import-circles

hack/say "shell scripts"
# Selected by their first line, because some scripts have no suffix.
git grep --name-only --null -IE '^#! ?(/usr)?/bin/(env )?(ba)?sh$' -- ':!*.md' ':!*.rs' | xargs -0 shellcheck

hack/say "files that are installed on hosts"
hack/host-files.sh

hack/say "spelling"
# Files written by others or by tools are left out, and so are identifiers such as upToDate.
git ls-files -z -- ':!*.lock' ':!*go.mod' ':!*go.sum' ':!LICENSE' ':!fuzz/corpus' |
    xargs -0 codespell --ignore-words-list crate,uptodate,bu --ignore-regex '\b\w*[a-z][A-Z]\w*\b'

hack/say "unused dependencies"
cargo machete

hack/say "dependencies: bans, licenses, sources, advisories"
hack/dependencies.sh
