#!/usr/bin/env bash
# Measures Coracle beside Docker and records the table in bench/RESULTS.md; arguments go to bench.py.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 bench/bench.py --write "$@"
