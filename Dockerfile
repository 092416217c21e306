# The service, as one image. Build it from the root of the repository:
#
#   docker build --tag ledgergrid .
#   docker run --env LEDGERGRID_API_KEY="$(openssl rand -hex 32)" \
#     --publish 127.0.0.1:8080:8080 --volume ledgergrid:/data ledgergrid
#
# In a container the service listens on every address, so it does not start without a key.

FROM python:3.11-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/ledgergrid
WORKDIR /src

# The requirements first: they change less often than the source, and their layer is kept.
COPY requirements/server.txt requirements/build.txt requirements/
RUN /opt/ledgergrid/bin/pip install --require-hashes -r requirements/server.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY ledger_core ledger_core
COPY api api
COPY verifier verifier
COPY migrations migrations
COPY sdk sdk
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/ledgergrid/bin/pip install --no-deps /wheels/*.whl


FROM python:3.11-slim

LABEL org.opencontainers.image.title="LedgerGrid" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/ledgergrid /opt/ledgergrid
ENV PATH=/opt/ledgergrid/bin:$PATH PYTHONUNBUFFERED=1

# A number, so that orchestrators can see that it is not root.
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin ledgergrid \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
USER 10001:10001
VOLUME /data
EXPOSE 8080

HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]

# Group commits in flight are finished when the service is asked to stop.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ledgergrid"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080", "--data", "/data"]
