#!/bin/sh
# Records what `docker COMMAND --help` says, one file a command, for the test that holds docs/cli.md to it.
# Needs only Docker's client: no daemon answers. Usage: ./record.sh [COMMAND...]
# A command of a group is written with a dash: `image-ls` is `docker image ls`.
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- run create start stop restart kill pause unpause wait rm rename update attach exec top stats \
    logs cp diff commit export import port inspect ps events container-ls \
    container-prune container-inspect
for command in "$@"; do
    # shellcheck disable=SC2046
    docker $(echo "$command" | tr - ' ') --help | sed 's/[[:space:]]*$//' >"$command.txt"
done
