#!/bin/sh
# Prepares the configuration with the scripts of /docker-entrypoint.d, then becomes the command.
# *.envsh are read into this shell, *.sh are run; both need the executable bit. NGINX_ENTRYPOINT_QUIET_LOGS
# silences what this script says.
set -e

log() {
  [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$@"
}

case ${1-} in
  nginx | nginx-debug)
    found=''
    for script in /docker-entrypoint.d/*; do
      [ -f "$script" ] || continue
      found=1
      case $script in
        *.envsh)
          if [ -x "$script" ]; then
            log "$0: Sourcing $script"
            . "$script"
          else
            log "$0: Ignoring $script, not executable"
          fi
          ;;
        *.sh)
          if [ -x "$script" ]; then
            log "$0: Launching $script"
            "$script"
          else
            log "$0: Ignoring $script, not executable"
          fi
          ;;
        *) log "$0: Ignoring $script" ;;
      esac
    done
    if [ -n "$found" ]; then
      log "$0: Configuration complete; ready for start up"
    else
      log "$0: No files found in /docker-entrypoint.d/, skipping configuration"
    fi
    ;;
esac

exec "$@"
