# One image for workers and commands: `docker build --tag ready-reckoner .`
# Packages come from image.lock.txt, by hash. The build tools stay in the build stage.

FROM python:3.13-slim-bookworm AS build
WORKDIR /build
COPY installer.lock.txt image.lock.txt demo.lock.txt ./
RUN python -m venv tools \
    && tools/bin/pip install --no-cache-dir --require-hashes --only-binary :all: --requirement installer.lock.txt \
    && python -m venv --without-pip /opt/venv \
    && tools/bin/uv pip install --no-cache --python /opt/venv/bin/python --require-hashes --only-binary :all: \
        --compile-bytecode --requirement image.lock.txt
# The build backend comes from demo.lock.txt, by hash.
COPY pyproject.toml README.md LICENSE ./
COPY reckoner reckoner
COPY shared shared
COPY workers workers
COPY producer producer
RUN tools/bin/uv build --no-cache --wheel --build-constraints demo.lock.txt --require-hashes --out-dir wheel \
    && tools/bin/uv pip install --no-cache --python /opt/venv/bin/python --no-deps --compile-bytecode wheel/*.whl
# Compile kernels for any processor of the architecture: wider instructions were measured to gain little.
ENV NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=/opt/kernels
# Outside /build, which holds another copy of the packages.
WORKDIR /opt
RUN venv/bin/python -m reckoner.workers.kernels

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="Ready Reckoner" \
    org.opencontainers.image.description="Keeps every user's next N recommendations ready in Redis." \
    org.opencontainers.image.licenses="Apache-2.0"
# A fixed uid, so that volumes and secrets can belong to it. A new volume copies the directory's owner.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/tmp --shell /usr/sbin/nologin reckoner \
    && install --directory --owner reckoner --group reckoner /artifacts
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/kernels /opt/kernels
# The home holds only disposable copies of /opt/kernels.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/opt/kernels \
    RECKONER_HOME=/var/tmp/reckoner \
    RECKONER_STORE_URL=file:///artifacts
USER 10001:10001
WORKDIR /var/tmp
VOLUME /artifacts
# Healthy if Redis has a recent heartbeat of a worker of this container.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "reckoner.workers", "--healthcheck"]
# No shell in between: signals reach the supervisor.
ENTRYPOINT ["reckoner"]
CMD ["worker"]
