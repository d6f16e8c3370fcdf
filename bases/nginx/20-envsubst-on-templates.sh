#!/bin/sh
# Writes each template of NGINX_ENVSUBST_TEMPLATE_DIR to NGINX_ENVSUBST_OUTPUT_DIR with the variables of the
# environment filled in. Only variables that exist (and fit NGINX_ENVSUBST_FILTER) are replaced, so that nginx's
# own ($host, $uri, ...) stay. Templates of streams have the suffix NGINX_ENVSUBST_STREAM_TEMPLATE_SUFFIX.
set -e
me=$(basename "$0")
log() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$@"; }

templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
stream_suffix=${NGINX_ENVSUBST_STREAM_TEMPLATE_SUFFIX:-.stream-template}
stream_output=${NGINX_ENVSUBST_STREAM_OUTPUT_DIR:-/etc/nginx/stream-conf.d}
filter=${NGINX_ENVSUBST_FILTER:-}

[ -d "$templates" ] || exit 0
variables=$(awk -v filter="$filter" 'BEGIN {
  for (name in ENVIRON) if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/ && name ~ filter) printf "${%s} ", name
}')

fill_in() { # directory, suffix of the templates
  if [ ! -w "$1" ]; then
    log "$me: ERROR: $templates exists, but $1 is not writable"
    return 0
  fi
  find -L "$templates" -type f -name "*$2" | sort | while IFS= read -r template; do
    name=${template#"$templates"/}
    target=$1/${name%"$2"}
    mkdir -p "$(dirname "$target")"
    log "$me: Running envsubst on $template to $target"
    envsubst "$variables" <"$template" >"$target"
  done
}

if [ -n "$(find -L "$templates" -type f -name "*$suffix" | head -n 1)" ]; then
  fill_in "$output" "$suffix"
fi
if [ -n "$(find -L "$templates" -type f -name "*$stream_suffix" | head -n 1)" ]; then
  mkdir -p "$stream_output"
  if ! grep -q "stream-conf.d" /etc/nginx/nginx.conf && [ -w /etc/nginx/nginx.conf ]; then
    printf '\nstream {\n  include %s/*.conf;\n}\n' "$stream_output" >>/etc/nginx/nginx.conf
    log "$me: Added a stream block to /etc/nginx/nginx.conf"
  fi
  fill_in "$stream_output" "$stream_suffix"
fi
