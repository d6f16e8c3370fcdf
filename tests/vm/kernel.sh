#!/usr/bin/env bash
# Fetches the cloud kernel of a Debian suite (or the virtual kernel of an Ubuntu one) and makes what a machine boots from it.
#   tests/vm/kernel.sh SUITE CACHE
# Leaves CACHE/kernel-SUITE with `vmlinuz`, `initrd`, `modules.ext4` and `version`. A suite that is there is left alone; remove
# its directory to get a newer kernel. apt verifies the index by the archive's signature and the package by the index.
set -euo pipefail
suite=$1 cache=$2
here=$(cd "$(dirname "$0")" && pwd)
target=$cache/kernel-$suite
mkdir -p "$cache"
exec 9>"$cache/kernel-$suite.lock"
flock 9
[[ ! -e $target ]] || exit 0

work=$(mktemp -d "$cache/kernel-$suite.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{lists/partial,cache/archives/partial,sources} "$work"/{debs,tree,disk,initrd} "$work"/out
: >"$work/apt/status"
case $suite in
  jammy)
    keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
    meta=linux-image-virtual
    lines=("http://archive.ubuntu.com/ubuntu jammy main")
    ;;
  *)
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    meta=linux-image-cloud-amd64
    lines=("http://deb.debian.org/debian $suite main")
    # What is no longer stable gets its kernels from the security archive.
    [[ $suite != bullseye ]] || lines+=("http://deb.debian.org/debian-security bullseye-security main")
    ;;
esac
for line in "${lines[@]}"; do echo "deb [signed-by=$keyring arch=amd64] $line"; done >"$work/apt/sources.list"
options=(
  -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts="$work/apt/sources"
  -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache"
  -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o Acquire::Languages=none -o APT::Sandbox::User=root
  -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Check-Valid-Until=false
  -o Acquire::Retries=3
)
apt-get "${options[@]}" -q update >&2
image=$(apt-cache "${options[@]}" depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[[ -n $image ]] || { echo "error: $meta of $suite depends on no kernel" >&2; exit 1; }
# Newer packages keep the kernel and its modules apart.
mapfile -t packages < <(echo "$image"; apt-cache "${options[@]}" depends "$image" |
  sed -nE 's/^ *Depends: (linux-(binary|modules)-[0-9].*)/\1/p' | sort -u)
(cd "$work/debs" && apt-get "${options[@]}" -q download "${packages[@]}" >&2)
for package in "$work"/debs/*.deb; do dpkg-deb -x "$package" "$work/tree"; done

modules=$work/tree/lib/modules
[[ -d $modules ]] || modules=$work/tree/usr/lib/modules
version=$(ls "$modules")
vmlinuz=$work/tree/boot/vmlinuz-$version
[[ -e $vmlinuz ]] || vmlinuz=$modules/$version/vmlinuz
# The disk carries what an engine may ask the kernel to load, not the drivers of hardware.
kernel=$modules/$version/kernel
mkdir -p "$work/disk/$version/kernel"
for part in net fs lib crypto arch/x86/crypto drivers/net drivers/block drivers/virtio security; do
  [[ -d $kernel/$part ]] || continue
  mkdir -p "$work/disk/$version/kernel/$part"
  cp -r "$kernel/$part/." "$work/disk/$version/kernel/$part"
done
rm -rf "$work/disk/$version"/kernel/drivers/net/{ethernet,wireless,can,usb,phy,wan}
cp "$modules/$version"/modules.{builtin,order}* "$work/disk/$version/" 2>/dev/null || true
mkdir -p "$work/base/lib" && ln -s "$work/disk" "$work/base/lib/modules"
depmod -b "$work/base" "$version" 2>/dev/null

# The first file system: enough to find the disks.
mkdir -p "$work"/initrd/{bin,dev,proc,sys,root,modules}
cp "$(command -v busybox)" "$work/initrd/bin/busybox"
cp "$here/initrd.sh" "$work/initrd/init"
chmod 755 "$work/initrd/init"
number=0
while read -r verb file _; do
  # A driver that is built in has no file.
  [[ $verb == insmod ]] || continue
  name=$(printf %02d "$number")-$(basename "$file")
  case $file in
    *.xz) xz -dc "$file" >"$work/initrd/modules/${name%.xz}" ;;
    *.zst) zstd -qdc "$file" >"$work/initrd/modules/${name%.zst}" ;;
    *) cp "$file" "$work/initrd/modules/$name" ;;
  esac
  number=$((number + 1))
done < <(for module in virtio_pci virtio_blk ext4; do
  modprobe -d "$work/base" -S "$version" --show-depends "$module" 2>/dev/null || true
done | awk '!seen[$0]++')
(cd "$work/initrd" && find . | cpio -o -H newc --quiet) >"$work/out/initrd"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/disk" "$work/out/modules.ext4" 160M
cp "$vmlinuz" "$work/out/vmlinuz"
echo "$version" >"$work/out/version"
mv "$work/out" "$target"
