#!/bin/sh
# The first process of a machine without systemd: mounts what a host has, lays out the control groups as `vm.cgroups=` says,
# runs the suite and turns the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs security /sys/kernel/security 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs tmp /tmp
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
exec </dev/null >/dev/ttyS0 2>&1
hostname vm
ip link set lo up

cgroups=v2
for word in $(cat /proc/cmdline); do
  case $word in vm.cgroups=*) cgroups=${word#vm.cgroups=} ;; esac
done
case $cgroups in
  v2) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
  v1 | hybrid)
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    # Controllers that are not compiled in for version 1 have no line, or cannot be mounted.
    for controller in $(awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups); do
      mkdir "/sys/fs/cgroup/$controller"
      mount -t cgroup -o "$controller" "$controller" "/sys/fs/cgroup/$controller" 2>/dev/null ||
        rmdir "/sys/fs/cgroup/$controller"
    done
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
    if [ "$cgroups" = hybrid ]; then
      mkdir /sys/fs/cgroup/unified
      mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
    fi
    ;;
esac

/vm/suite.sh
