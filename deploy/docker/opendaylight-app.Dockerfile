# The same with the application, which changes more often.
ARG OPENDAYLIGHT=localhost/qnfv-opendaylight-runtime:lab
ARG APP=localhost/qnfv-app:lab

FROM ${APP} AS app

FROM ${OPENDAYLIGHT}
LABEL qnfv.made-by=build-images
COPY --from=app /opt/qnfv-app /opt/qnfv-app
ENV PATH=/opt/qnfv-app/bin:/opt/qnfv/bin:/usr/local/bin:/usr/bin:/bin
