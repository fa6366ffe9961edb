#!/usr/bin/env bash
# Install the OpenStack of this folder once, and print where it is.
#
#   deploy/openstack/build.sh        -> /home/me/.cache/qnfv/openstack/1f0c...
#   deploy/openstack/build.sh vm     the same, with what Nova needs to run guests (libvirt, QEMU)
#
# The result lies in ${QNFV_CACHE:-~/.cache/qnfv}/openstack/<hash of this folder's own files>:
#   venv/      Keystone, Glance, Placement, Nova, Neutron, uwsgi, pinned by constraints.txt
#   libvirt/   Python's binding of libvirt, built against Debian's (only with `vm`)
# Each is built aside and renamed: what is there is whole. Without the cache it is built again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
with_vm=${1:-}
hash=$(cd "$here" && cat requirements.txt constraints.txt | sha256sum | cut -c1-16)
cache=${QNFV_CACHE:-$HOME/.cache/qnfv}/openstack
built=$cache/$hash
libvirt_python=libvirt-python==9.0.0 # must be the version of Debian's libvirt

say() { printf 'openstack: %s\n' "$*" >&2; }

there() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }

need_packages() {
  local missing=()
  there mariadbd || missing+=(mariadb-server)
  there rabbitmq-server || missing+=(rabbitmq-server)
  # uwsgi is compiled; so is libvirt's binding.
  there cc || missing+=(gcc libc6-dev)
  if [ "$with_vm" = vm ]; then
    there libvirtd || missing+=(libvirt-daemon libvirt-daemon-driver-qemu)
    there qemu-system-x86_64 || missing+=(qemu-system-x86)
    there qemu-img || missing+=(qemu-utils)
    there syslinux || missing+=(syslinux syslinux-common)
    there mformat || missing+=(mtools)
    pkg-config --exists libvirt 2>/dev/null || missing+=(libvirt-dev pkg-config)
  fi
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "install Debian's ${missing[*]}, then try again."
    exit 1
  fi
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local start_policy=/usr/sbin/policy-rc.d made_policy=
  if [ ! -e "$start_policy" ]; then # the packages' own services are not wanted
    printf '#!/bin/sh\nexit 101\n' >"$start_policy"
    chmod +x "$start_policy"
    made_policy=yes
  fi
  { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >&2
  [ -z "$made_policy" ] || rm -f "$start_policy"
}

# A virtual environment cannot be moved, so a stamp says that it is whole.
install_services() {
  [ ! -e "$built/venv.whole" ] || return 0
  say "installing the services from PyPI (minutes when they have to be fetched)"
  rm -rf "$built/venv"
  python3 -m venv "$built/venv"
  "$built/venv/bin/pip" install --quiet --disable-pip-version-check \
    --requirement "$here/requirements.txt" --constraint "$here/constraints.txt" >&2
  touch "$built/venv.whole"
}

install_libvirt_binding() {
  [ ! -d "$built/libvirt" ] || return 0
  say "building libvirt's Python binding"
  rm -rf "$built/.libvirt"
  "$built/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$built/.libvirt" "$libvirt_python" >&2
  mv "$built/.libvirt" "$built/libvirt"
}

mkdir -p "$built"
exec 9>"$cache/lock"
flock 9
need_packages 9>&-
install_services 9>&-
[ "$with_vm" != vm ] || install_libvirt_binding 9>&-
echo "$built"
