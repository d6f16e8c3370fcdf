#!/usr/bin/env bash
# Brings staging up: builds, starts in order, waits for health, prints the addresses.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/make-secrets.sh
exec "${CORACLE:-coracle}" up staging "$@"
