#!/usr/bin/env bash
# Makes the user land that the machines share: Debian bookworm with systemd, AppArmor's loader and the libraries of the binary.
#   tests/vm/root.sh CACHE
# Leaves CACHE/root.ext4. One that is there is left alone.
set -euo pipefail
cache=$1
mkdir -p "$cache"
exec 9>"$cache/root.lock"
flock 9
[[ ! -e $cache/root.ext4 ]] || exit 0

work=$(mktemp -d "$cache/root.XXXXXX")
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --mode=root --variant=essential \
  --include=systemd,systemd-sysv,libseccomp2,apparmor,busybox-static,kmod,ca-certificates,iproute2 \
  --aptopt='Acquire::Retries "3"' --dpkgopt=path-exclude='/usr/share/doc/*' --dpkgopt=path-exclude='/usr/share/locale/*' \
  --dpkgopt=path-exclude='/usr/share/man/*' \
  bookworm "$work/root.tar" "deb http://deb.debian.org/debian bookworm main"
mkdir "$work/root"
# Devices come from the kernel.
tar -C "$work/root" --exclude='./dev/*' -xf "$work/root.tar"
rm -rf "$work"/root/var/{cache/apt,lib/apt/lists}/*
mkdir -p "$work"/root/{vm,dev,proc,sys,run,tmp} "$work/root/usr/lib/modules"
echo vm >"$work/root/etc/hostname"
printf '127.0.0.1 localhost vm\n' >"$work/root/etc/hosts"
: >"$work/root/etc/fstab"
# The suite is what such a machine is for; what waits for hardware or a login is not.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udev-settle.service getty.target \
  systemd-networkd-wait-online.service systemd-timesyncd.service e2scrub_reap.service apt-daily.timer \
  apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer systemd-random-seed.service \
  systemd-pcrphase.service systemd-pcrphase-sysinit.service apparmor.service; do
  ln -sf /dev/null "$work/root/etc/systemd/system/$unit"
done
cat >"$work/root/etc/systemd/system/vm-suite.service" <<'UNIT'
[Unit]
Description=The suite of the virtual machine
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/vm/suite.sh
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
UNIT
mkdir -p "$work/root/etc/systemd/system/default.target.wants"
ln -s ../vm-suite.service "$work/root/etc/systemd/system/default.target.wants/vm-suite.service"
ln -sf /lib/systemd/system/multi-user.target "$work/root/etc/systemd/system/default.target"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/root" "$work/root.ext4" 1500M
mv "$work/root.ext4" "$cache/root.ext4"
