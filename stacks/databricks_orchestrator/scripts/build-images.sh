#!/usr/bin/env bash
# Builds all images of all environments.
set -euo pipefail
cd "$(dirname "$0")/.."
coracle=${CORACLE:-coracle}

"$coracle" build -t orchestrator-backend:dev --target runtime "$@" ./backend
"$coracle" build -t orchestrator-backend:latest --target production "$@" ./backend
"$coracle" build -t orchestrator-frontend:dev --target development "$@" ./frontend
"$coracle" build -t orchestrator-frontend:latest --target production "$@" ./frontend

"$coracle" images
