#!/bin/bash
# All tests: `make test`. Ends with the number of tests that passed and failed.
# FAST=1 leaves out the virtual machines (for a developer; CI never sets it). E2E_JOBS: clusters at the same time.
set -uo pipefail
cd "$(dirname "$0")/.."

# A cluster's test mostly waits for pods to end and nodes to come back: two cores carry two of them.
jobs=${E2E_JOBS:-2}
logs=$(mktemp -d)
log=$logs/all
trap 'rm -rf "$logs"' EXIT
failed=0

title() {
    printf '\n== [%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"
}

step() {
    local name=$1
    shift
    title "$name"
    if ! "$@" 2>&1 | tee -a "$log"; then
        echo "test.sh: \"$name\" failed" >&2
        failed=$((failed + 1))
    fi
}

# One file of tests on clusters of its own; what it prints comes in one piece when it has ended.
cluster_test() {
    local test=$1 begin=$SECONDS status=0
    cargo test --quiet -p lockkeeper-e2e --test "$test" -- --test-threads=1 >"$logs/$test" 2>&1 || status=$?
    exec 9>"$logs/printing"
    flock 9
    title "real control plane: $test ended after $((SECONDS - begin)) s"
    tee -a "$log" <"$logs/$test"
    [ $status -eq 0 ] || echo "test.sh: \"$test\" failed" >&2
    return $status
}

cluster_tests() {
    local path test
    for path in e2e/tests/*.rs e2e/tests/*/main.rs; do
        test=$(basename "${path%/main.rs}" .rs)
        case $test in
        vm_* | *_vm | bench_*) continue ;; # real nodes come after these, benchmarks are no tests
        esac
        if [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; then
            wait -n || failed=$((failed + 1))
        fi
        title "real control plane: $test begins"
        cluster_test "$test" &
    done
    while [ -n "$(jobs -p)" ]; do
        wait -n || failed=$((failed + 1))
    done
}

step "formatting, lints, purity" hack/check.sh
step "our programs (debug)" cargo build --quiet --workspace --bins
step "unit, scenario and property tests" cargo test --quiet --no-fail-fast --workspace --exclude lockkeeper-e2e
step "the cluster's tests, compiled" cargo test --quiet --no-run -p lockkeeper-e2e
cluster_tests
if [ -z "${FAST:-}" ]; then
    step "container images" e2e/cluster/images/build.sh
    step "real nodes: rollout" cargo test --quiet -p lockkeeper-e2e --test vm_rollout -- --test-threads=1
fi

passed=$(awk '/^test result:/{for (i = 1; i <= NF; i++) if ($i == "passed;") sum += $(i - 1)} END{print sum + 0}' "$log")
broken=$(awk '/^test result:/{for (i = 1; i <= NF; i++) if ($i == "failed;") sum += $(i - 1)} END{print sum + 0}' "$log")
# A step that failed without a failed test (a lint, a build) counts as one.
[ "$broken" -ge "$failed" ] || broken=$failed
printf '\n[%d:%02d] done\n%d passed, %d failed\n' $((SECONDS / 60)) $((SECONDS % 60)) "$passed" "$broken"
[ "$broken" -eq 0 ]
