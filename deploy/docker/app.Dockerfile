# Every service, agent and emulator: one image, told what to be by its command.
ARG RUNTIME=localhost/qnfv-runtime:lab

FROM ${RUNTIME} AS wheel
LABEL qnfv.made-by=build-images
USER root
COPY wheels/ /wheels/
RUN PYTHONPATH="$(echo /wheels/pip-*.whl)" python -m pip install \
      --quiet --no-cache-dir --no-index --no-deps --target /opt/qnfv-app /wheels/qnfv-*.whl

FROM ${RUNTIME}
COPY --from=wheel /opt/qnfv-app /opt/qnfv-app
COPY healthcheck.py /opt/qnfv-app/bin/
ENV PATH=/opt/qnfv-app/bin:/opt/qnfv/bin:/usr/local/bin:/usr/bin:/bin
CMD ["qnfv", "--help"]
