#!/usr/bin/env bash
# The compose lab: lab.sh up [BASE] | wait | demo | down   (BASE: see deploy/docker/build-images.sh)
set -euo pipefail
cd "$(dirname "$0")/../.."

project=qnfv-lab
files=$PWD/.lab/compose
vim_owner=qnfv-compose
data_centres=(dc-1 dc-2 dc-3)
engine_socket=${QNFV_DOCKER_SOCKET:-/var/run/docker.sock}
export DOCKER_HOST=unix://$engine_socket
bin=$PWD/.venv/bin
healthy_within_s=420

compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose --project-name "$project" --env-file "$files/env" "$@"
  else
    docker-compose --project-name "$project" --env-file "$files/env" "$@"
  fi
}

need_engine() {
  "$bin/python" - <<'PYTHON'
import sys
from emulators.lab.docker_engine import find_engine
finding = find_engine(print)
print(f"  {finding.note}" if finding.answers else "The compose lab needs a Docker engine that answers.")
sys.exit(not finding.answers)
PYTHON
}

need_compose() {
  docker compose version >/dev/null 2>&1 && return
  command -v docker-compose >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Compose is missing. Install your system's docker-compose, or Docker's compose plug-in." >&2
    return 1
  fi
  echo "  docker-compose is missing: installing it ..."
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends docker-compose >/dev/null
}

containers() { docker ps --all --quiet --filter "label=com.docker.compose.project=$project"; }

# Every container of the lab with its health, one a line.
health() {
  containers | xargs --no-run-if-empty docker inspect --format \
    '{{ index .Config.Labels "com.docker.compose.service" }} {{ .State.Status }} {{ .State.Health.Status }}'
}

wait_healthy() {
  local began=$SECONDS wanted
  wanted=$(compose config --services | wc -l)
  until [ "$(health | grep -c ' running healthy$')" -ge "$wanted" ]; do
    if [ $((SECONDS - began)) -gt $healthy_within_s ]; then
      echo "Not everything is healthy after $healthy_within_s s:" >&2
      health >&2
      compose logs --tail=25 >&2
      return 1
    fi
    sleep 0.5
  done
  health | sed 's/^/  /; s/ running healthy$/ is healthy/'
}

rest_url() { echo "http://127.0.0.1:$(sed -n 's/^QNFV_REST_PORT=//p' "$files/env")"; }

# Made at the first start; gone once it was used.
first_secret() {
  compose exec -T orchestrator cat /var/lib/qnfv/first-administrator 2>/dev/null || echo "(used already)"
}

run_demo() {
  "$bin/qnfv" demo on "$(rest_url)" --token-file "$files/secrets/token" --data-centre dc-1 \
    --report "$files/report.json"
}

up() {
  echo "Engine"
  need_engine
  need_compose
  echo "Images"
  QNFV_PYTHON=$bin/python deploy/docker/build-images.sh "${1:-auto}"
  echo "Settings, certificates, secrets"
  "$bin/python" deploy/compose/prepare.py "$files" --docker-socket "$engine_socket" --vim-owner "$vim_owner"
  echo "Containers"
  local began=$SECONDS
  if ! compose up --detach >"$files/up.log" 2>&1; then
    tail -n 30 "$files/up.log" >&2
    health >&2
    compose logs --tail=25 >&2
    return 1
  fi
  wait_healthy
  echo "  up and healthy in $((SECONDS - began)) s"
}

# Goes by labels, so that it also clears what a broken start or a lost folder left.
down() {
  remove() { xargs --no-run-if-empty "$@" >/dev/null; }
  containers | remove docker stop --time 20
  local centre
  for centre in "${data_centres[@]}"; do
    docker ps --all --quiet --filter "label=qnfv.data-centre=$vim_owner-$centre" | remove docker rm --force --volumes
    docker images --format '{{.Repository}}:{{.Tag}}' "qnfv-$vim_owner-$centre/vnf" | remove docker rmi
  done
  containers | remove docker rm --force --volumes
  docker network ls --quiet --filter "label=com.docker.compose.project=$project" | remove docker network rm
  docker volume ls --quiet --filter "label=com.docker.compose.project=$project" | remove docker volume rm
  docker images --format '{{.Repository}}:{{.Tag}}' | grep '^localhost/qnfv-' | remove docker rmi || true
  docker image prune --force --filter label=qnfv.made-by=build-images >/dev/null
  rm -rf "$files"
  echo "The compose lab is gone: containers, networks, volumes, images, files."
}

case ${1:-} in
  up)
    up "${2:-auto}"
    run_demo
    echo "Web pages at $(rest_url)/, REST at $(rest_url)/api/v1, token in $files/secrets/token."
    echo "The first sign-in: administrator, with this one-time password: $(first_secret)"
    echo "End it with: make compose-down"
    ;;
  wait) wait_healthy ;;
  demo) run_demo ;;
  down) down ;;
  *)
    echo "usage: lab.sh up [auto|local|public|IMAGE] | wait | demo | down" >&2
    exit 2
    ;;
esac
