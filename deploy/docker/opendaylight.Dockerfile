# OpenDaylight as deploy/opendaylight builds it, with what starts it here. Built by build-images.sh,
# which lays the distribution beside it.
ARG RUNTIME=localhost/qnfv-runtime:lab

FROM ${RUNTIME}
LABEL qnfv.made-by=build-images
USER root
# Its packages want a folder that small images leave out.
RUN mkdir -p /usr/share/man/man1 && apt-get update -q \
    && { apt-get install -y -q --no-install-recommends openjdk-17-jre-headless \
         || apt-get install -y -q --no-install-recommends openjdk-21-jre-headless; } \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY distribution/ /opt/opendaylight/
USER qnfv
