#!/usr/bin/env bash
# Boots a machine, runs the suite in it and prints its console. Needs no KVM.
#   tests/vm/boot.sh BINARY KERNEL [init|systemd] [v2|v1|hybrid] [WORD FOR THE KERNEL...]
# KERNEL is a Debian suite (bullseye, bookworm, trixie, forky) or jammy. Downloads and disks are kept in CORACLE_VM_CACHE.
set -euo pipefail
binary=$1 kernel=$2 pid1=${3:-init} cgroups=${4:-v2}
shift $(($# < 4 ? $# : 4))
here=$(cd "$(dirname "$0")" && pwd)
cache=${CORACLE_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/coracle/vm}
"$here/kernel.sh" "$kernel" "$cache"
"$here/root.sh" "$cache"

work=$(mktemp -d "${TMPDIR:-/tmp}/coracle-vm.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/vm/tools"
strip -o "$work/vm/coracle" "$binary"
cp "$here/first.sh" "$here/suite.sh" "$work/vm/"
# The machine has no `nft`: what the suite counts rules with is out of everyone's path.
nft=$(PATH=$PATH:/usr/sbin command -v nft)
cp "$nft" "$work/vm/tools/"
ldd "$nft" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | grep -vE '/lib(c|m)\.so' | xargs cp -Lt "$work/vm/tools/"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/vm" "$work/vm.ext4" 192M

words="console=ttyS0 loglevel=4 panic=-1 vm.cgroups=$cgroups"
case $pid1 in
  init) words+=" vm.first=/vm/first.sh" ;;
  systemd)
    words+=" vm.first=/sbin/init systemd.show_status=false systemd.log_level=warning"
    case $cgroups in
      v1) words+=" systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1" ;;
      hybrid) words+=" systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0" ;;
    esac
    ;;
esac
disk() { printf 'file=%s,format=raw,if=virtio,snapshot=on' "$1"; }
# One thread emulates both processors: with two, a kernel that changes its own code has crashed in the middle of it.
timeout --foreground "${CORACLE_VM_SECONDS:-300}" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m 1024 -nodefaults -no-reboot \
  -display none -serial stdio -kernel "$cache/kernel-$kernel/vmlinuz" -initrd "$cache/kernel-$kernel/initrd" \
  -append "$words $*" -drive "$(disk "$cache/root.ext4")" -drive "$(disk "$cache/kernel-$kernel/modules.ext4")" \
  -drive "$(disk "$work/vm.ext4")" </dev/null
