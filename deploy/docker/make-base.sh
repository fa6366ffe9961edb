#!/usr/bin/env bash
# Makes a small Debian image without any image registry, out of the packages that this machine's
# own apt configuration offers. Usage: make-base.sh TAG
set -euo pipefail
tag=${1:?usage: make-base.sh TAG}

if ! command -v mmdebstrap >/dev/null; then
  if [ "$(id -u)" != 0 ]; then
    echo "mmdebstrap is missing. Install it (apt-get install mmdebstrap), or use BASE=public." >&2
    exit 1
  fi
  echo "Installing mmdebstrap, which makes the base image ..."
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends mmdebstrap >/dev/null
fi

. /etc/os-release
# Only the distribution's own archives: other sources on this machine are no business of an image.
sources=$(apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
            'Created-By: Packages' | grep -i "^$ID|" | cut -d'|' -f2- | sort -u)
if [ -z "$sources" ]; then
  echo "apt knows no archive of $ID here. Run apt-get update, or use BASE=public." >&2
  exit 1
fi

mmdebstrap --quiet --variant=minbase --include=ca-certificates \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  "$VERSION_CODENAME" - <<<"$sources" | docker import --change 'LABEL qnfv.made-by=build-images' - "$tag" >/dev/null
