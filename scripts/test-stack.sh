#!/usr/bin/env bash
# Runs the reference stack's own tests: the backend's with pytest, the frontend's with vitest.
set -euo pipefail
cd "$(dirname "$0")/.."
stack=$PWD/stacks/databricks_orchestrator
work=${TMPDIR:-/tmp}/coracle-stack-tests
mkdir -p "$work"

[[ -x $work/venv/bin/python ]] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$stack/backend/requirements-dev.txt"
(cd "$stack/backend" && "$work/venv/bin/python" -m pytest -q -p no:cacheprovider)

# A copy, so that no node_modules appears in the checkout and in the build contexts.
rm -rf "$work/frontend"
cp -r "$stack/frontend" "$work/frontend"
(cd "$work/frontend" && npm ci --no-audit --no-fund --loglevel=error && npm test && npm run build)
