# MariaDB for machines without an image registry; elsewhere the official image serves. Both take
# the same variables (see database-entrypoint.sh) and know a user `mysql`.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
LABEL qnfv.made-by=build-images
RUN groupadd --system mysql && useradd --system --gid mysql --home-dir /var/lib/mysql mysql \
    && apt-get update -q \
    && apt-get install -y -q --no-install-recommends mariadb-server-core mariadb-client-core \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && install -d -o mysql -g mysql -m 0750 /var/lib/mysql \
    && install -d -o mysql -g mysql -m 1777 /run/mysqld
COPY database-entrypoint.sh /usr/local/bin/
USER mysql
VOLUME /var/lib/mysql
ENTRYPOINT ["database-entrypoint.sh"]
CMD ["mariadbd"]
