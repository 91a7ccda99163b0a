# Vermeil's API and demo. Two targets: `gpu`, and `cpu`, the last and so the default.
#   docker build -t vermeil .
#   docker build -t vermeil:gpu --target gpu .
# How it is run, and what the sizes are: docs/deploy.md. No secret is taken in, at no step.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS packages
# The index that PyTorch's installation page names for CPUs. Left empty, torch comes from the
# ordinary one, where it brings CUDA's libraries along: that is what a GPU wants, and a CPU can use.
ARG TORCH_INDEX=""
# More packages, such as a database's driver for the keys: "psycopg[binary]".
ARG MORE_PACKAGES=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/vermeil
# What changes seldom comes first: a change of the code installs nothing anew.
COPY pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/venv \
 && python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['serve'], sep='\n')" > /tmp/wanted.txt \
 && for package in ${MORE_PACKAGES}; do echo "${package}" >> /tmp/wanted.txt; done \
 && /opt/venv/bin/pip install -q -c constraints.txt -r /tmp/wanted.txt \
    ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"}
COPY . .
# Compiled here, since a root that is read-only keeps no bytecode.
RUN /opt/venv/bin/pip install -q --no-deps -e . \
 && /opt/venv/bin/python -m compileall -q vermeil.py shared data phase*_*

FROM ${BASE} AS serve
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Vermeil" \
      org.opencontainers.image.description="One model that reads, writes, looks, answers, draws and listens" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, not a name: Kubernetes refuses to run as root only where it can tell by the number.
RUN install -d -o 10001 -g 10001 -m 0750 /vermeil /keys
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /opt/vermeil /opt/vermeil
# All that is written lies in /vermeil (artifacts, keys, usage) and /tmp; compose.yaml hands over the
# demo's key in /keys.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VERMEIL_HOME=/vermeil \
    HOME=/tmp \
    USER=vermeil \
    HF_HUB_OFFLINE=1 \
    GRADIO_ANALYTICS_ENABLED=False
WORKDIR /tmp
USER 10001:10001
VOLUME ["/vermeil"]
EXPOSE 8000 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
# Exec form: the server itself is process 1, so SIGTERM reaches it and it drains.
ENTRYPOINT ["vermeil"]
CMD ["serve", "--host", "0.0.0.0"]

FROM serve AS gpu
# The driver comes from the host (NVIDIA's container toolkit), CUDA's libraries with torch.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM serve AS cpu
