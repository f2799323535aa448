# Serves a model over HTTP. From a checkout:
#
#   docker build -t firstlight --build-arg TORCH_INDEX=ADDRESS .
#   docker run --rm --read-only --tmpfs /tmp -p 8000:8000 -e FIRSTLIGHT_TOKEN \
#       -v "$PWD/runs/photos-1:/model:ro" firstlight
#
# TORCH_INDEX is where pip finds torch and torchvision without CUDA; README.md, "Install", names the address. Without it
# they come from pip's usual index, and on Linux bring several gigabytes for GPUs.
# FIRSTLIGHT_TOKEN, of at least 16 characters, is what requests have to carry; without it the server refuses to start.
# The model is not part of the image, and nothing is downloaded when it runs.
#
# For the templates in deploy/, which train and predict on many machines, leave TORCH_INDEX out if they have GPUs:
#
#   docker build -t firstlight .                                                                # deploy/trainjob.yaml
#   docker build -t firstlight --build-arg EXTRAS=scale --build-arg PACKAGES='ray[default]' .   # deploy/rayjob.yaml

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/firstlight
ENV PATH=/opt/firstlight/bin:$PATH
# pyproject.toml bounds the versions, here and below
# hadolint ignore=DL3013
RUN pip install "torch>=2.11" "torchvision>=0.26" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
WORKDIR /source
COPY . .
ARG EXTRAS=serve,export
ARG PACKAGES
# hadolint ignore=DL3013
RUN pip install ".[${EXTRAS}]" ${PACKAGES:+"$PACKAGES"}

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/firstlight /opt/firstlight
ENV PATH=/opt/firstlight/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    FIRSTLIGHT_CACHE=/tmp/firstlight \
    FIRSTLIGHT_OFFLINE=1
USER 10001:10001
WORKDIR /tmp
VOLUME ["/model"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=4s --start-period=90s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
server = http.client.HTTPConnection('127.0.0.1', 8000, timeout=3); \
server.request('GET', '/health/ready', headers={'Authorization': 'Bearer ' + os.environ.get('FIRSTLIGHT_TOKEN', '')}); \
sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["firstlight"]
CMD ["serve", "/model", "--host", "0.0.0.0", "--port", "8000", "--device", "cpu"]
