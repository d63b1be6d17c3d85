#!/bin/bash
# All tests: `make test`. Ends with the number of tests that passed and failed.
# FAST=1 leaves out the virtual machines (for a developer; CI never sets it).
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
begin=$SECONDS

step() {
    local name=$1
    shift
    printf '\n== [%d:%02d] %s\n' $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60)) "$name"
    if ! "$@" 2>&1 | tee -a "$log"; then
        echo "test.sh: \"$name\" failed" >&2
        failed=$((failed + 1))
    fi
}

step "formatting, lints, purity" hack/check.sh
step "our programs (debug)" cargo build --quiet --workspace --bins
step "unit, scenario and property tests" cargo test --quiet --no-fail-fast --workspace --exclude lockkeeper-e2e
# One file at a time: each starts clusters, and two cores carry one.
for path in e2e/tests/*.rs e2e/tests/*/main.rs; do
    test=$(basename "${path%/main.rs}" .rs)
    case $test in
    vm_* | *_vm | bench_*) continue ;; # real nodes are below, benchmarks are no tests
    esac
    step "real control plane: $test" cargo test --quiet -p lockkeeper-e2e --test "$test" -- --test-threads=1
done
if [ -z "${FAST:-}" ]; then
    step "container images" e2e/cluster/images/build.sh
    step "real nodes: rollout" cargo test --quiet -p lockkeeper-e2e --test vm_rollout -- --test-threads=1
fi

passed=$(awk '/^test result:/{for (i = 1; i <= NF; i++) if ($i == "passed;") sum += $(i - 1)} END{print sum + 0}' "$log")
broken=$(awk '/^test result:/{for (i = 1; i <= NF; i++) if ($i == "failed;") sum += $(i - 1)} END{print sum + 0}' "$log")
# A step that failed without a failed test (a lint, a build) counts as one.
[ "$broken" -ge "$failed" ] || broken=$failed
printf '\n[%d:%02d] done\n%d passed, %d failed\n' $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60)) "$passed" "$broken"
[ "$broken" -eq 0 ]
