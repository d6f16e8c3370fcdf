#!/usr/bin/env bash
# Runs the application's own tests, backend and frontend; sets up what they need on first use.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ -d backend/.venv ]] || python3 -m venv backend/.venv
backend/.venv/bin/pip install --quiet --disable-pip-version-check -r backend/requirements-dev.txt
(cd backend && .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/python -m pytest)

[[ -d frontend/node_modules ]] || (cd frontend && npm ci)
(cd frontend && npm test && npm run build)
