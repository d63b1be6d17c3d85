# Everything a developer needs; `make help` explains. Each target installs what it needs and says what it does.
SHELL := /bin/bash
.DEFAULT_GOAL := help
NODES ?= vm
COUNT ?=
SEEDS ?= 10000

.PHONY: help demo test cluster check unit e2e soak vm images generate bench-drain tools clean

help: ## this list
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a rollout to watch: three virtual machines, or NODES=hollow COUNT=20
	@hack/tools.sh $(NODES)
	@hack/say "building Lockkeeper (minutes the first time, then only what changed)"
	@cargo build --quiet --workspace --bins
	@cargo run --quiet -p lockkeeper-e2e --bin demo -- --nodes $(NODES) $(if $(COUNT),--count $(COUNT))

test: tools ## everything that CI runs: format, lints, unit, real API server, three real nodes
	@hack/test.sh

cluster: ## a cluster with Lockkeeper for a developer; runs until Ctrl-C (NODES=hollow COUNT=20)
	@hack/tools.sh $(NODES)
	@cargo build --quiet --workspace --bins
	@cargo run --quiet -p lockkeeper-e2e --bin cluster -- --nodes $(NODES) $(if $(COUNT),--count $(COUNT))

check: ## formatting and lints, and the planner's purity
	@hack/check.sh

unit: ## tests that need no cluster
	@cargo test --workspace --exclude lockkeeper-e2e

soak: ## the planner's simulator on both cores: SEEDS=1000000 for a night; SEED=7 tells one; MUTANT=NAME breaks a guard
	@cargo test --quiet --profile soak --package lockkeeper-planner --test soak -- --seeds $(SEEDS) \
		$(if $(SEED),--seed $(SEED)) $(if $(MUTANT),--mutant $(MUTANT) --from 0) $(if $(DUEL),--duel)

e2e: tools ## tests on a real control plane with hollow nodes
	@cargo build --quiet --workspace --bins
	@FAST=1 hack/test.sh

vm: tools ## the rollout on three real nodes, as a test
	@cargo build --quiet --workspace --bins
	@cargo test --package lockkeeper-e2e --test vm_rollout -- --nocapture --test-threads=1

bench-drain: tools ## our drain beside kubectl's, ten minutes a round (ROUNDS=5, CASES=part-of-a-name, DOCS=1 writes docs)
	@cargo build --quiet --package kubectl-lockkeeper --package lockkeeper-e2e --bins
	@cargo test --package lockkeeper-e2e --test bench_drain -- --nocapture

images: tools ## container image archives, without Docker
	@e2e/cluster/images/build.sh

generate: ## what is generated: CRDs from the types, deploy/, expected renderings, references from types and chart
	@UPDATE_EXPECT=1 cargo test --quiet --package lockkeeper-crds --test generated
	@UPDATE_EXPECT=1 cargo test --quiet --package lockkeeper-e2e --test manifests --test docs

tools: ## what the tests need beside Rust and Go, once, into the cache
	@hack/tools.sh test

clean: ## what this work tree built; the cache stays
	@cargo clean
