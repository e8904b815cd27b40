# Light: the default model on ONNX Runtime, the page and the API; no PyTorch. Training: Dockerfile.gpu.
#   docker build -t meisho .
#   docker run -p 127.0.0.1:8765:8765 -v ~/Pictures:/photos:ro -v meisho:/data meisho
# How it is used, and what was measured: docs/containers.md.
ARG BASE=python:3.12-slim

# What meisho needs, apart from meisho: this layer changes with pyproject.toml alone.
FROM ${BASE} AS needed
ARG EXTRAS=serve,heic
WORKDIR /build
RUN python3 -m venv /opt/meisho
COPY pyproject.toml containers/requirements.py ./
RUN python3 requirements.py "${EXTRAS}" > requirements.txt \
 && /opt/meisho/bin/python -m pip install --no-cache-dir --disable-pip-version-check -r requirements.txt \
 && rm -rf /opt/meisho/lib/python3*/site-packages/pyarrow/include \
 && find /opt/meisho -type d -name tests -path '*/pyarrow/*' -prune -exec rm -r {} +

# meisho as a wheel
FROM needed AS package
WORKDIR /build/source
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE NOTICE THIRD_PARTY.md ./
COPY recipes recipes
COPY src src
RUN /opt/meisho/bin/python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /build/wheel .

FROM ${BASE}
LABEL org.opencontainers.image.title="meisho" \
      org.opencontainers.image.description="Find every other photo of the same landmark or object" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 1000 meisho \
 && install -d -o meisho -g meisho /data \
 && install -d -m 0555 /photos
COPY --from=needed /opt/meisho /opt/meisho
RUN --mount=type=bind,from=package,source=/build/wheel,target=/wheel \
    /opt/meisho/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps /wheel/*.whl
COPY --chmod=0755 containers/start.sh /usr/local/bin/start
ENV PATH=/opt/meisho/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8765
# Ready once the photos are indexed and the collection answers; the first index of a large folder takes longer than
# the start period, and until then the container is called unhealthy, no more.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10m --retries=3 \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/readyz', timeout=4)"]
ENTRYPOINT ["start"]
