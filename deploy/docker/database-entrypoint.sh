#!/bin/sh
# Starts MariaDB; the first time with a database and a user of its own. As the official image:
#   MARIADB_DATABASE, MARIADB_USER, MARIADB_PASSWORD_FILE
# The server's root may only come through the socket, as the system's user mysql.
set -eu
[ "${1:-}" = mariadbd ] || exec "$@"
shift
data=/var/lib/mysql
init=/run/mysqld/init.sql

if [ ! -e "$data/.ready" ]; then
  # What an interrupted first start left is not a database.
  find "$data" -mindepth 1 -delete
  mariadb-install-db --datadir="$data" --auth-root-authentication-method=socket \
    --auth-root-socket-user=mysql --skip-test-db >/dev/null
  touch "$data/.ready"
fi

# Read by the server before it listens; repeated at each start, so a new password file is obeyed.
quoted=$(sed "s/[\\\\']/\\\\&/g" "$MARIADB_PASSWORD_FILE")
umask 077
cat >"$init" <<SQL
CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS '$MARIADB_USER'@'%';
ALTER USER '$MARIADB_USER'@'%' IDENTIFIED BY '$quoted';
GRANT ALL ON \`$MARIADB_DATABASE\`.* TO '$MARIADB_USER'@'%';
SQL
exec mariadbd --datadir="$data" --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid \
  --bind-address=0.0.0.0 --skip-name-resolve --skip-log-bin --init-file="$init" "$@"
