#!/bin/bash
# Runs all tests: `make test`. The last line is the number of tests that passed and failed.
# FAST=1 leaves out the virtual machines, for a quick local run. E2E_JOBS is the number of clusters at a time (default 3).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# A cluster test mostly waits for pods to end and for nodes to return, so two cores can run three clusters.
jobs=${E2E_JOBS:-3}
logs=$(mktemp -d)
log=$logs/all
trap 'rm -rf "$logs"' EXIT
failed=0
export IMAGE_PROFILE=e2e-images

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

run_test() {
    hack/e2e.sh "$1" --quiet
}

# Runs one module of the cluster tests on clusters of its own. Its output is printed in one piece when it has ended.
cluster_test() {
    local test=$1 begin=$SECONDS status=0
    run_test "$test" >"$logs/$test" 2>&1 || status=$?
    exec 9>"$logs/printing"
    flock 9
    title "real control plane: $test finished after $((SECONDS - begin)) s"
    tee -a "$log" <"$logs/$test"
    [ $status -eq 0 ] || echo "test.sh: \"$test\" failed" >&2
    return $status
}

# Those that take minutes come first, so that the last ones to end are short.
longest_first() {
    local path slow=" monitoring drain_policy outages failed leaders daemon_sets limits faults eviction_requests story meddling "
    for path in e2e/tests/*.rs; do
        basename "$path" .rs
    done | awk -v slow="$slow" '{print index(slow, " " $1 " ") ? index(slow, " " $1 " ") : 999, $1}' |
        sort -n | cut -d' ' -f2
}

cluster_tests() {
    local test
    for test in $(longest_first); do
        case $test in
        vm_*) continue ;;    # virtual machines need both cores: they run after the other clusters
        bench_*) continue ;; # a benchmark, see `make bench-drain`
        main) continue ;;
        esac
        if [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; then
            wait -n || failed=$((failed + 1))
        fi
        title "real control plane: $test starts"
        cluster_test "$test" &
    done
    while [ -n "$(jobs -p)" ]; do
        wait -n || failed=$((failed + 1))
    done
}

step "checks" hack/check.sh
# All cargo commands select the whole workspace: another selection has other features, and builds most dependencies again.
step "programs and tests (debug build)" cargo build --quiet --workspace --bins --tests
step "unit, scenario and property tests" cargo test --quiet --no-fail-fast --workspace
title "cluster tests (build)"
if E2E_PROGRAM=$(hack/e2e.sh); then
    export E2E_PROGRAM
    cluster_tests
else
    echo "test.sh: the cluster tests cannot be built" >&2
    failed=$((failed + 1))
fi
if [ -z "${FAST:-}" ]; then
    # The others take an hour more: only `make vm` runs them.
    step "container images" e2e/cluster/images/build.sh
    step "virtual machines: rollout" run_test vm_rollout
fi

passed=$(awk '/^test result:/{for (i = 1; i <= NF; i++) if ($i == "passed;") sum += $(i - 1)} END{print sum + 0}' "$log")
broken=$(awk '/^test result:/{for (i = 1; i <= NF; i++) if ($i == "failed;") sum += $(i - 1)} END{print sum + 0}' "$log")
# A step that failed without a failed test, such as a lint or a build, counts as one failed test.
[ "$broken" -ge "$failed" ] || broken=$failed
printf '\n[%d:%02d] done\n%d passed, %d failed\n' $((SECONDS / 60)) $((SECONDS % 60)) "$passed" "$broken"
[ "$broken" -eq 0 ]
