#!/usr/bin/env bash
# Installs what Coracle's build (and its tests) need on Debian 12, as root. Does nothing when it is all there.
#   scripts/setup.sh build [test]
set -euo pipefail

packages=(build-essential pkg-config libseccomp-dev mmdebstrap ca-certificates curl)
for part in "$@"; do
  case $part in
    build) ;;
    test)
      packages+=(nftables iproute2 procps python3 python3-venv chromium busybox-static git docker-registry openssl systemd passt uidmap)
      # Machines of other kernels, see tests/vm.
      packages+=(qemu-system-x86 e2fsprogs kmod cpio xz-utils zstd)
      ;;
    *) echo "usage: scripts/setup.sh build [test]" >&2; exit 1 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
# A Node.js that did not come as Debian's package counts too.
if [[ " $* " == *" test "* ]] && ! { command -v node && command -v npm; } >/dev/null; then missing+=(nodejs npm); fi
if ((${#missing[@]})); then
  echo "Installing: ${missing[*]}" >&2
  if ((EUID)); then echo "error: run this as root, or install: ${missing[*]}" >&2; exit 1; fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

if ! command -v cargo >/dev/null; then
  echo "Installing the Rust toolchain with rustup" >&2
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --no-modify-path --default-toolchain none
  PATH=$HOME/.cargo/bin:$PATH rustup toolchain install
fi
