# The two commands that matter: `make up` brings up the reference stack, `make test` runs every test.
# Both do all of their own set-up on a bare Debian 12 machine, as root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(HOME)/.cargo/bin:$(PATH)

STACK := stacks/databricks_orchestrator
CORACLE := $(CURDIR)/target/release/coracle
ENV ?= dev

.PHONY: help setup setup-test build install bases up down check test test-unit test-stack test-e2e bench equality clean

help:            ## Show the targets.
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | column -t -s $$'\t'

setup:           ## Install the Debian packages and the toolchain that a build needs.
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh build test

build: setup     ## Build the release binary.
	cargo build --release --locked

install: build   ## Install the binary as /usr/local/bin/coracle.
	install -m 755 $(CORACLE) /usr/local/bin/coracle

bases: build     ## Bake the stand-in base images that the reference stack uses, where no registry can be reached.
	$(CORACLE) base build --all --if-missing

up: bases        ## Bring up the reference stack (ENV=dev|staging|prod).
	cd $(STACK) && $(CORACLE) up $(ENV)

down:            ## Take the reference stack down (ENV=dev|staging|prod).
	cd $(STACK) && $(CORACLE) down $(ENV)

check: setup     ## Formatting, lints, layers and unit tests.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask layers
	cargo test --workspace --locked --lib --bins

test: setup-test ## Run every test.
	@scripts/test.sh

bench: bases     ## Measure against Docker Engine, BuildKit and Compose (makes the peer lab on first use).
	@bench/run.sh

equality: setup-test ## Record anew what BuildKit makes of tests/equality/cases (makes the peer lab on first use).
	@bench/peers.sh up
	CORACLE_EQUALITY_PEER="$(CURDIR)/bench/peers.sh in" CORACLE_EQUALITY_SHARE="$${PEERS:-/opt/peers}/share:/share" \
		cargo test --package coracle --locked --test equality -- --nocapture
