#!/bin/bash
# Everything that is checked without running the programs: format, lints, words, imports, scripts, spelling, dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

e2e/cluster/packages.sh check
PATH=$(hack/check-tools.sh):$PATH
export PATH

hack/say "formatting"
cargo fmt --all -- --check

hack/say "lints"
cargo clippy --quiet --workspace --all-targets -- -D warnings

hack/say "the planner has no I/O and no hidden state"
hack/planner-purity.sh

hack/say "shell scripts"
# Found by their first line: not every script has a name that ends in .sh.
git grep --name-only --null -IE '^#! ?(/usr)?/bin/(env )?(ba)?sh$' -- ':!*.md' ':!*.rs' | xargs -0 shellcheck

hack/say "spelling"
# What others wrote is left alone: checksums and lock files.
git ls-files -z -- ':!*.lock' ':!*go.mod' ':!*go.sum' ':!LICENSE' | xargs -0 codespell --ignore-words hack/codespell-ignored

hack/say "unused dependencies"
cargo machete

hack/say "dependencies: bans, licenses, sources, advisories"
hack/dependencies.sh
