#!/usr/bin/env bash
# Builds the images of the compose lab:
#   localhost/qnfv-app:lab       services, agents, emulators
#   localhost/qnfv-opendaylight:lab  OpenDaylight, from deploy/opendaylight
#   localhost/qnfv-database:lab  MariaDB (the official image under this name where BASE is public)
#
# Usage: build-images.sh [auto|local|public|IMAGE]
#   local   a base made here from the machine's own Debian packages; no image registry is asked
#   public  the ordinary public images that the Dockerfiles name
#   IMAGE   a Debian-like base of your own
#   auto    local for root on Debian, else public
#
# What takes long (dependencies, MariaDB) is kept in $XDG_CACHE_HOME/qnfv, by a fingerprint of what
# it is made from and the month, so that security updates arrive; without it all is built anew.
set -euo pipefail
cd "$(dirname "$0")"
base=${1:-auto}
root=$(cd ../.. && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/qnfv
python=${QNFV_PYTHON:-$root/.venv/bin/python}
official_database=mariadb:11.4
label=qnfv.made-by=build-images

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$cache"
# Whoever gave up half way left these; an entry that nobody needs any more goes too.
find "$cache" -maxdepth 1 \( -name '*.part' -mmin +60 -o -name '*.tar.gz' -mtime +60 \) -delete

say() { printf '  %s\n' "$*"; }
# /etc/os-release decides, and apt-get must be there to fetch packages with.
is_debian() { grep -qE '^ID=(debian|ubuntu)$' /etc/os-release 2>/dev/null && command -v apt-get >/dev/null; }

choose_base() {
  if [ "$base" = auto ]; then
    if [ "$(id -u)" = 0 ] && is_debian; then base=local; else base=public; fi
  fi
  base_identity=$base
  case $base in
    local)
      . /etc/os-release
      base_image=localhost/qnfv-base:$VERSION_CODENAME
      python_version=$(apt-cache show --no-all-versions python3 | sed -nE 's/^Version: ([0-9]+\.[0-9]+).*/\1/p')
      ;;
    public)
      base_image=
      python_version=3.11
      ;;
    *)
      base_image=$base
      python_version=$(docker run --rm --entrypoint python3 "$base_image" -c \
        'import sys; print("%d.%d" % sys.version_info[:2])')
      base_identity=$(docker image inspect --format '{{ .Id }}' "$base_image")
      ;;
  esac
  say "base: $base${base_image:+ ($base_image)}, Python $python_version"
}

need_base() {
  if [ "$base" = local ] && ! docker image inspect "$base_image" >/dev/null 2>&1; then
    say "making the base image from this machine's packages (about two minutes) ..."
    ./make-base.sh "$base_image"
  fi
}

# --build-arg only where a base is chosen: otherwise the Dockerfile's public default serves.
base_argument() { [ -z "$base_image" ] || printf -- '--build-arg=BASE=%s' "$base_image"; }

build() { # TAG CONTEXT [docker build arguments]
  local tag=$1 context=$2
  shift 2
  local log=$stage/build-${context##*/}.log
  if ! docker build --tag "$tag" "$@" "$context" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "The image $tag could not be built (see above)." >&2
    return 1
  fi
}

fingerprint() { { printf '%s\n' "$base_identity" "$python_version" "$(uname -m)" "$(date +%Y-%m)"; cat "$@"; } | sha256sum | cut -c1-16; }

# Whether the engine has this image, or the cache gave it.
is_there() { # TAG CACHE_ENTRY
  docker image inspect "$1" >/dev/null 2>&1 && return
  [ -e "$cache/$2" ] || return
  gunzip -c "$cache/$2" | docker load >/dev/null 2>&1 || true
  docker image inspect "$1" >/dev/null 2>&1 || return
  say "$1: from the cache"
}

keep() { # TAG CACHE_ENTRY
  docker save "$1" | gzip -1 >"$cache/$2.$$.part"
  mv "$cache/$2.$$.part" "$cache/$2"
}

write_requirements() {
  "$python" - "$root/pyproject.toml" >"$stage/requirements.txt" <<'PYTHON'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    print("\n".join(tomllib.load(file)["project"]["dependencies"]))
PYTHON
}

download_wheels() {
  local context=$stage/runtime machine
  machine=$(uname -m)
  mkdir -p "$context/wheels"
  cp "$stage/requirements.txt" "$context/"
  "$python" -m pip download --quiet --only-binary=:all: --implementation cp \
    --python-version "$python_version" --platform any --platform "manylinux_2_28_$machine" \
    --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
    --dest "$context/wheels" --requirement "$context/requirements.txt" pip
}

make_runtime() {
  # shellcheck disable=SC2046
  build "$runtime" "$stage/runtime" --file runtime.Dockerfile $(base_argument)
  keep "$runtime" "$runtime_entry"
}

# On the runtime's image, so it waits for that one.
make_opendaylight() {
  local context=$stage/opendaylight distribution
  distribution=$("$root/deploy/opendaylight/build.sh") || return 1
  mkdir -p "$context/distribution"
  cp -r "$distribution"/. "$context/distribution/"
  chmod -R go+rX "$context/distribution"
  build "$opendaylight" "$context" --file opendaylight.Dockerfile --build-arg "RUNTIME=$runtime"
  rm -rf "$context"
  keep "$opendaylight" "$opendaylight_entry"
}

make_database() {
  local context=$stage/database
  mkdir -p "$context"
  cp database-entrypoint.sh "$context/"
  # shellcheck disable=SC2046
  build "$database" "$context" --file database.Dockerfile $(base_argument)
  keep "$database" "$database_entry"
}

# The jobs run side by side; all are waited for, the first that failed decides.
wait_for() {
  local job failed=0
  for job in "$@"; do wait "$job" || failed=1; done
  return $failed
}

make_what_is_missing() {
  local jobs=() runtime_missing= database_missing= opendaylight_missing=
  is_there "$runtime" "$runtime_entry" || runtime_missing=1
  [ "$base" = public ] || is_there "$database" "$database_entry" || database_missing=1
  is_there "$opendaylight" "$opendaylight_entry" || opendaylight_missing=1
  [ -n "$runtime_missing$database_missing$opendaylight_missing" ] || return 0
  say "building:${runtime_missing:+ runtime}${database_missing:+ database}${opendaylight_missing:+ opendaylight} (once; kept in $cache) ..."
  if [ -n "$runtime_missing" ]; then download_wheels & jobs+=($!); fi
  need_base & jobs+=($!)
  wait_for "${jobs[@]}"
  jobs=()
  if [ -n "$runtime_missing" ]; then make_runtime & jobs+=($!); fi
  if [ -n "$database_missing" ]; then make_database & jobs+=($!); fi
  wait_for "${jobs[@]}"
  if [ -n "$opendaylight_missing" ]; then make_opendaylight; fi
}

build_app() {
  local context=$stage/app
  mkdir -p "$context/wheels"
  cp healthcheck.py "$context/"
  "$python" -m pip wheel --quiet --no-deps --wheel-dir "$context/wheels" "$root"
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$context/wheels" pip
  build localhost/qnfv-app:lab "$context" --file app.Dockerfile --build-arg "RUNTIME=$runtime"
  mkdir -p "$stage/opendaylight-app"
  build localhost/qnfv-opendaylight:lab "$stage/opendaylight-app" \
    --file opendaylight-app.Dockerfile --build-arg "OPENDAYLIGHT=$opendaylight"
}

began=$SECONDS
choose_base
write_requirements
key=$(fingerprint runtime.Dockerfile make-base.sh "$stage/requirements.txt")
runtime=localhost/qnfv-runtime:$key
runtime_entry=runtime-$key.tar.gz
key=$(fingerprint database.Dockerfile database-entrypoint.sh make-base.sh)
database=localhost/qnfv-database:$key
database_entry=database-$key.tar.gz
key=$(fingerprint opendaylight.Dockerfile runtime.Dockerfile make-base.sh "$stage/requirements.txt" \
  "$root"/deploy/opendaylight/pom.xml "$root"/deploy/opendaylight/*/pom.xml "$root"/deploy/opendaylight/build.sh)
opendaylight=localhost/qnfv-opendaylight-runtime:$key
opendaylight_entry=opendaylight-$key.tar.gz
if [ "$base" = public ]; then
  database=$official_database
  docker image inspect "$database" >/dev/null 2>&1 || docker pull --quiet "$database" >/dev/null
fi
make_what_is_missing
docker tag "$database" localhost/qnfv-database:lab
build_app
# Stages and former builds, and nothing that somebody else made.
docker image prune --force --filter "label=$label" >/dev/null
say "images ready in $((SECONDS - began)) s"
