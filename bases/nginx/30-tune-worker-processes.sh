#!/bin/sh
# With NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE set, one worker a processor that the container may use: the
# fewest of online processors, CPU set and CPU quota (rounded up).
set -e
me=$(basename "$0")
log() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$@"; }
[ -n "${NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE:-}" ] || exit 0
config=/etc/nginx/nginx.conf
[ -w "$config" ] || { log "$me: info: can not modify $config"; exit 0; }

workers=$(nproc) # heeds the CPU set
quota='' period=''
if [ -r /sys/fs/cgroup/cpu.max ]; then
  read -r quota period </sys/fs/cgroup/cpu.max
elif [ -r /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
  quota=$(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us)
  period=$(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)
fi
case $quota in
  '' | max | -1) ;;
  *)
    limit=$(((quota + period - 1) / period))
    if [ "$limit" -ge 1 ] && [ "$limit" -lt "$workers" ]; then workers=$limit; fi
    ;;
esac
changed=$(sed "s/^\( *worker_processes\)  *.*;/\1  $workers;/" "$config")
printf '%s\n' "$changed" >"$config"
log "$me: info: worker_processes set to $workers"
