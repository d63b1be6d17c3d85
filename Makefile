# The developer's tasks; `make help` lists them. Each target installs what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
NODES ?= vm
COUNT ?=
PROGRAMS := $(or $(CARGO_TARGET_DIR),target)/debug
SEEDS ?= 10000
FUZZ_SECONDS ?= 60

.PHONY: help demo test cluster check unit e2e e2e-long soak fuzz vm images generate bench-drain bench-scale bench-size tools clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## watch a rollout on three virtual machines, or with NODES=hollow COUNT=20
	@hack/tools.sh $(NODES)
	@hack/say "building Lockkeeper (some minutes the first time)"
	@cargo build --quiet --workspace --bins
	@$(PROGRAMS)/demo --nodes $(NODES) $(if $(COUNT),--count $(COUNT))

test: tools ## run all that CI runs: checks, unit tests, a real API server, three virtual machines
	@hack/test.sh

cluster: ## start a cluster with Lockkeeper until Ctrl-C (NODES=hollow COUNT=20)
	@hack/tools.sh $(NODES)
	@cargo build --quiet --workspace --bins
	@$(PROGRAMS)/cluster --nodes $(NODES) $(if $(COUNT),--count $(COUNT))

check: ## check format, lints, purity, words, imports, scripts, spelling and dependencies
	@hack/check.sh

unit: ## run the tests that need no cluster
	@cargo test --workspace

soak: ## run the planner's simulator (SEEDS=1000000; SEED=7 prints one run; MUTANT=NAME disables a guard)
	@cargo test --quiet --release --package lockkeeper-planner --test soak -- --seeds $(SEEDS) \
		$(if $(SEED),--seed $(SEED)) $(if $(MUTANT),--mutant $(MUTANT) --from 0) $(if $(TWO_LEADERS),--two-leaders)

fuzz: ## feed the parsers of foreign bytes with mutated inputs (FUZZ_SECONDS=3600 for each parser)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --quiet --workspace --test fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --quiet --workspace --lib fuzz

e2e: tools ## run all tests except those on virtual machines (TEST=drain runs one module of e2e/tests)
	@$(if $(TEST),hack/e2e.sh $(TEST) --nocapture,FAST=1 hack/test.sh)

e2e-long: tools ## run outages of up to 120 s in each phase, and 20 rounds of faults of the leader (about 40 min)
	@OUTAGES=all hack/e2e.sh outages --nocapture
	@ROUNDS=20 hack/e2e.sh leaders --nocapture

vm: tools ## run all tests on virtual machines (CI runs only vm_rollout; the others take an hour)
	@hack/e2e.sh vm_rollout --nocapture
	@hack/e2e.sh vm_confinement --nocapture
	@hack/e2e.sh vm_selinux --nocapture
	@hack/e2e.sh vm_kexec --nocapture
	@hack/e2e.sh vm_soft_reboot --nocapture

bench-drain: tools ## compare our drain with kubectl's, 10 min a round (ROUNDS=5; CASES=part-of-a-name; DOCS=1 writes docs)
	@hack/e2e.sh bench_drain --nocapture

bench-scale: tools ## measure what a first policy costs on 2,000 hollow nodes (COUNT=5000)
	@COUNT=$(COUNT) hack/e2e.sh bench_scale --nocapture

bench-size: tools ## measure memory and processor time of the agent on a virtual machine (MINUTES=60)
	@MINUTES=$(MINUTES) hack/e2e.sh bench_size --nocapture

images: tools ## build the container image archives, without Docker
	@e2e/cluster/images/build.sh

generate: ## write the generated files: CRDs, deploy/, expected renderings, reference pages
	@UPDATE_EXPECT=1 cargo test --quiet --workspace --test generated
	@UPDATE_EXPECT=1 hack/e2e.sh manifests --quiet
	@UPDATE_EXPECT=1 hack/e2e.sh docs --quiet

tools: ## install into the cache what the tests need in addition to Rust and Go
	@hack/tools.sh test

clean: ## delete the build output; the cache stays
	@cargo clean
