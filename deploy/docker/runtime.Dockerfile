# What the services run in: Python and their dependencies. Built by build-images.sh, which lays
# the wheels beside it; changes only when the dependencies do.
ARG BASE=python:3.11-slim

FROM ${BASE} AS python
LABEL qnfv.made-by=build-images
RUN command -v python3 >/dev/null || { \
      apt-get update -q \
      && apt-get install -y -q --no-install-recommends python3 \
      && apt-get clean && rm -rf /var/lib/apt/lists/*; }

FROM python AS dependencies
COPY wheels/ /wheels/
COPY requirements.txt /wheels/
# pip itself comes as a wheel, so that neither image needs one of its own.
RUN python3 -m venv --without-pip /opt/qnfv \
    && PYTHONPATH="$(echo /wheels/pip-*.whl)" /opt/qnfv/bin/python -m pip install \
         --quiet --no-cache-dir --no-index --find-links /wheels --requirement /wheels/requirements.txt \
    && find /opt/qnfv -type d -name tests -prune -exec rm -rf {} + \
    && echo /opt/qnfv-app > "$(/opt/qnfv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/qnfv-app.pth"

FROM python
COPY --from=dependencies /opt/qnfv /opt/qnfv
RUN groupadd --gid 10001 qnfv \
    && useradd --uid 10001 --gid qnfv --home-dir /var/lib/qnfv --create-home qnfv
ENV PATH=/opt/qnfv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/qnfv
USER qnfv
