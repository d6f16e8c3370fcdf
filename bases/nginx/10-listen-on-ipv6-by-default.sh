#!/bin/sh
# Lets the default server listen on IPv6 too, if the kernel speaks it and the file is still the shipped one.
set -e
me=$(basename "$0")
log() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$@"; }
config=/etc/nginx/conf.d/default.conf

[ -f /proc/net/if_inet6 ] || { log "$me: info: ipv6 not available"; exit 0; }
[ -f "$config" ] || { log "$me: info: $config is not a file or does not exist"; exit 0; }
[ -w "$config" ] || { log "$me: info: can not modify $config (read-only file system?)"; exit 0; }
if grep -q 'listen  *\[::\]:80' "$config"; then
  log "$me: info: IPv6 listen already enabled"
elif cmp -s "$config" /usr/share/nginx/default.conf.dist; then
  # Not `sed -i`: the file's directory may be one that this user cannot write.
  changed=$(sed 's,^\( *\)listen  *80;,&\n\1listen  [::]:80;,' "$config")
  printf '%s\n' "$changed" >"$config"
  log "$me: info: Enabled listen on IPv6 in $config"
else
  log "$me: info: $config differs from the packaged version"
fi
