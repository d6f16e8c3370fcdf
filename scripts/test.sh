#!/usr/bin/env bash
# Runs every test: formatting, lints, layers, unit and adapter tests, the stack's own tests, and end to end.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$HOME/.cargo/bin:$PATH

step() { printf '\n=== %s\n' "$*"; }

step "formatting, lints, layers"
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
cargo xtask layers

step "unit and adapter tests"
# Fuzz targets run a minute each here, a few seconds by default, and for hours by hand.
export CORACLE_FUZZ_SECONDS=${CORACLE_FUZZ_SECONDS:-60}
# The end-to-end tests are the binary's integration tests; they run last, when there is something to run.
# With the points of the suite of faults, as everything below, so that nothing is compiled twice.
cargo test --workspace --locked --exclude coracle --features coracle-fault/armed
cargo test --package coracle --locked --features failpoints --bins

step "the reference stack's own tests"
scripts/test-stack.sh

step "release binary and base images"
cargo build --release --locked
target/release/coracle base build --all --if-missing

step "end to end"
# The suite of faults runs the binary that cargo builds beside the tests; all others run the release.
CORACLE_BIN=$PWD/target/release/coracle cargo test --package coracle --locked --features failpoints --test '*' -- --test-threads=1
