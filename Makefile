# `make demo` runs the main job, `make test` passes the tests. Both do all set-up themselves, below target/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

CARGO ?= cargo
# Where cargo builds: CARGO_TARGET_DIR if it is set, else target/.
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# What runs guests, and so runs on the interpreter too.
RUNTIME_TESTS := $(patsubst %.rs,--test %,$(notdir $(wildcard runtime/tests/*.rs runtime/tests/isolation/tests/*.rs tests/tests/hostile*.rs))) \
	$(patsubst runtime/tests/%/main.rs,--test %,$(wildcard runtime/tests/*/main.rs))
export MPKG_TOOLCHAIN ?= $(TARGET)/guest-toolchain

.PHONY: help demo test build tools toolchain bench corpora fuzz lint fmt

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: build ## one Mini App from source to kill, then a fleet of 200 hosts: two stories in two minutes once built
	@scripts/demo.sh "$(TARGET)/debug"
	@"$(TARGET)/debug/mpkg" demo

test: build ## every test, in Rust and JavaScript; what CI runs
	@$(CARGO) test --workspace
	@echo "what runs guests once more, without native code"
	@MPKG_ENGINE=pulley $(CARGO) test --workspace $(RUNTIME_TESTS)
	@echo "and in a build without a compiler, on what the other one compiled"
	@$(CARGO) test -p miniapp-runtime --no-default-features --test precompiled
	@$(CARGO) test --manifest-path sdk/rust/Cargo.toml --workspace
	@scripts/test-js.sh

build: tools toolchain
	@echo "building the workspace (the first time takes about ten minutes on two cores)"
	@$(CARGO) build --workspace

tools:
	@scripts/check-tools.sh

toolchain: tools
	@scripts/guest-toolchain.sh

bench: build ## every benchmark; writes target/bench.json and docs/benchmarks.md
	@$(CARGO) bench --profile dev --workspace --bench runtime --bench package --bench registry --bench updates
	@"$(TARGET)/debug/benchmarks" "$(TARGET)/bench.json" docs/benchmarks.md

corpora: build ## judges the independent test data below MPKG_CORPORA and prints the table
	@MPKG_CORPORA="$${MPKG_CORPORA:-$$(cd ../shared/corpora 2> /dev/null && pwd)}"; \
	[ -n "$$MPKG_CORPORA" ] || { echo "MPKG_CORPORA must name the folder with the corpora" >&2; exit 1; }; \
	export MPKG_CORPORA; $(CARGO) test -q --workspace --test corpora -- --nocapture

fuzz: tools ## runs each fuzz target for FUZZ_SECONDS (60) seconds, or those in TARGETS
	@scripts/fuzz.sh $(TARGETS)

lint: tools ## formatting, clippy and the API docs, as CI checks them
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings
	@$(CARGO) clippy -p miniapp-runtime --no-default-features --lib --test precompiled -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

fmt: ## formats everything
	@$(CARGO) fmt --all
	@$(CARGO) fmt --manifest-path sdk/rust/Cargo.toml --all
