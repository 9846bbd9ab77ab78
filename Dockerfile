# One image for workers and commands: `docker build --tag ready-reckoner .`
# What is installed comes from image.lock.txt, by hash. The build stage has the tools; the image has what they made.

FROM python:3.13-slim-bookworm AS build
WORKDIR /build
COPY installer.lock.txt image.lock.txt demo.lock.txt ./
RUN python -m venv tools \
    && tools/bin/pip install --no-cache-dir --require-hashes --only-binary :all: --requirement installer.lock.txt \
    && python -m venv --without-pip /opt/venv \
    && tools/bin/uv pip install --no-cache --python /opt/venv/bin/python --require-hashes --only-binary :all: \
        --compile-bytecode --requirement image.lock.txt
# The build backend comes by hash too, from the lock that has it, and stays out of the image.
COPY pyproject.toml README.md LICENSE ./
COPY reckoner reckoner
COPY shared shared
COPY workers workers
COPY producer producer
RUN tools/bin/uv build --no-cache --wheel --build-constraints demo.lock.txt --require-hashes --out-dir wheel \
    && tools/bin/uv pip install --no-cache --python /opt/venv/bin/python --no-deps --compile-bytecode wheel/*.whl
# numba keys compiled kernels by the processor. What is compiled here has to fit all processors that the image will run
# on; they are sums over scattered entries, which were measured to gain nothing from wider instructions.
ENV NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=/opt/kernels
# Not where another copy of the packages lies.
WORKDIR /opt
RUN venv/bin/python -m reckoner.workers.kernels

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="Ready Reckoner" \
    org.opencontainers.image.description="Keeps every user's next N recommendations ready in Redis." \
    org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that volumes and secrets can be given to it; the directory is what a new volume looks like.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/tmp --shell /usr/sbin/nologin reckoner \
    && install --directory --owner reckoner --group reckoner /artifacts
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/kernels /opt/kernels
# The home keeps nothing that has to stay: only what each container copies out of /opt/kernels.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/opt/kernels \
    RECKONER_HOME=/var/tmp/reckoner \
    RECKONER_STORE_URL=file:///artifacts
USER 10001:10001
WORKDIR /var/tmp
VOLUME /artifacts
# Is a worker of this container alive?
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "reckoner.workers", "--healthcheck"]
# No shell in between: signals reach the supervisor, which `reckoner worker` becomes.
ENTRYPOINT ["reckoner"]
CMD ["worker"]
