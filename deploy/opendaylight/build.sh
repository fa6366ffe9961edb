#!/usr/bin/env bash
# Build the OpenDaylight of this folder once, and print where it is.
#
#   deploy/opendaylight/build.sh      -> /home/me/.cache/qnfv/opendaylight/1f0c...
#
# The result lies in ${QNFV_CACHE:-~/.cache/qnfv}/opendaylight/<hash of this folder's own files>:
#   karaf/        the distribution: never written to, so that several instances can run from it
#   instance/     what a first boot makes (etc, configuration, resolved bundles): a new instance
#                 starts from a copy and is spared two thirds of the first boot and of its memory
# It is built aside and renamed: what is there is whole. Without the cache it is just built again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
hash=$(cd "$here" && find . -type f \( -name '*.xml' -o -name build.sh \) -not -path '*/target/*' \
  -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
cache=${QNFV_CACHE:-$HOME/.cache/qnfv}/opendaylight
built=$cache/$hash
boot_timeout_s=180

say() { printf 'opendaylight: %s\n' "$*" >&2; }

need_java_and_maven() {
  if command -v java >/dev/null && command -v mvn >/dev/null; then return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "Java 17 and Maven are needed: install openjdk-17-jre-headless and maven, then try again."
    exit 1
  fi
  say "installing Java and Maven"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -q && apt-get install -y -q --no-install-recommends \
    openjdk-17-jre-headless maven; } >&2
}

assemble() {
  say "assembling from Maven artifacts (minutes when they have to be fetched)"
  cp -r "$here"/{pom.xml,openflow-listener,password-hash,features,karaf} "$work/"
  (cd "$work" && mvn -B -ntp -Dspotbugs.skip -Dcheckstyle.skip -DskipTests install) \
    >"$work/maven.log" 2>&1 || { tail -n 40 "$work/maven.log" >&2; exit 1; }
  mkdir "$work/out"
  mv "$work/karaf/target/assembly" "$work/out/karaf"
}

# The first boot resolves features into bundles. It opens no door: HTTP is off, the rest on loopback.
boot_once() {
  say "first boot"
  local base=$work/base pid
  mkdir -p "$base/data" "$base/configuration/initial"
  cp -r "$work/out/karaf/etc" "$base/etc"
  rm "$base/etc/jetty.xml"
  echo 'org.osgi.service.http.enabled = false' >"$base/etc/org.ops4j.pax.web.cfg"
  echo 'karaf.shutdown.port = -1' >>"$base/etc/config.properties"
  mkdir -p "$base/etc/opendaylight/datastore/initial/config"
  cat >"$base/etc/opendaylight/datastore/initial/config/default-openflow-connection-config.xml" <<-XML
	<switch-connection-config xmlns="urn:opendaylight:params:xml:ns:yang:openflow:switch:connection:config">
	  <instance-name>openflow-switch-connection-provider-default-impl</instance-name>
	  <address>127.0.0.1</address>
	  <port>0</port>
	  <transport-protocol>TCP</transport-protocol>
	</switch-connection-config>
	XML
  KARAF_BASE=$base KARAF_DATA=$base/data KARAF_ETC=$base/etc \
    KARAF_OPTS="-Dkaraf.instances=$base/instances" CHECK_ROOT_INSTANCE_RUNNING=false \
    EXTRA_JAVA_OPTS="-Xms256m -Xmx1g -XX:+UseSerialGC -XX:MaxMetaspaceSize=256m -XX:TieredStopAtLevel=1" \
    "$work/out/karaf/bin/karaf" daemon >"$work/boot.log" 2>&1 </dev/null &
  pid=$!
  local deadline=$((SECONDS + boot_timeout_s))
  until booted "$base/data/log/karaf.log"; do
    if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      kill -9 "$pid" 2>/dev/null || true
      say "the first boot failed:"
      tail -n 20 "$work/boot.log" "$base/data/log/karaf.log" >&2
      exit 1
    fi
    sleep 0.2
  done
  kill "$pid"
  wait "$pid" || true  # its answer to SIGTERM is 143
  # Karaf's memory of configuration names absolute paths; each instance reads its own etc again.
  rm -rf "$base"/data/cache/org.eclipse.osgi/*/data/config
  mkdir "$work/out/instance"
  mv "$base/etc" "$base/configuration" "$base/data/cache" "$work/out/instance/"
}

# Asked to end before everything runs, Karaf would wait minutes for services that never come.
booted() { grep -qs 'Now notifying all its registered SystemReadyListeners' "$1"; }

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -d "$built" ]; then
  need_java_and_maven
  rm -rf "$cache"/.building.*  # of builds that were killed; the lock says that none runs
  work=$(mktemp -d "$cache/.building.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  assemble 9>&-
  boot_once 9>&-
  mv "$work/out" "$built"
  say "built in $SECONDS s: $built"
fi
echo "$built"
