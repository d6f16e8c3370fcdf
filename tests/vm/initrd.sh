#!/bin/busybox sh
# The first process of a machine: loads the drivers of its disks, puts them together and hands over.
# vda: the user land; vdb: the kernel's modules; vdc: the binary and the suite.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
  [ -e "$module" ] && /bin/busybox insmod "$module"
done
tries=0
while [ ! -e /dev/vdc ] && [ $tries -lt 100 ]; do
  /bin/busybox sleep 0.1
  tries=$((tries + 1))
done
/bin/busybox mount -t ext4 /dev/vda /root || echo "VM-FAIL boot: the disk of the user land cannot be mounted"
/bin/busybox mount -t ext4 -o ro /dev/vdb /root/usr/lib/modules
/bin/busybox mount -t ext4 -o ro /dev/vdc /root/vm
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /sys
first=/vm/first.sh
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in vm.first=*) first=${word#vm.first=} ;; esac
done
/bin/busybox umount /proc
exec /bin/busybox switch_root /root "$first"
