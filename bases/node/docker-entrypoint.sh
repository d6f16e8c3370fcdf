#!/bin/sh
# Runs the command; an option, or a script that is no program, is handed to node.
set -e
case ${1-} in
  -*) set -- node "$@" ;;
  *)
    if [ -n "${1-}" ] && { ! command -v "$1" >/dev/null 2>&1 || { [ -f "$1" ] && [ ! -x "$1" ]; }; }; then
      set -- node "$@"
    fi
    ;;
esac
exec "$@"
