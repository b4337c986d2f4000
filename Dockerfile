# The image of a run: the pinned packages, every interpreter, compiled parts.
#
#   docker build --tag IMAGE .                              for TPUs
#   docker build --build-arg EXTRA=cuda13 --tag IMAGE .     for GPUs: cuda13 or cuda12
#   docker build --build-arg JULIA=URL --tag IMAGE .        with a Julia from https://julialang.org/downloads (tar.gz)
#
# A TPU needs --privileged for the host's devices. Elsewhere the sandbox needs namespaces:
#   docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...
FROM python:3.11-slim-bookworm
ARG EXTRA=tpu
ARG JULIA=
WORKDIR /azr_jax
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Slowest first, so that a change of the code builds in seconds.
COPY tpu_scripts/install_julia.sh tpu_scripts/install_interpreters.sh tpu_scripts/
RUN if [ -n "$JULIA" ]; then tpu_scripts/install_julia.sh "$JULIA"; fi \
    && tpu_scripts/install_interpreters.sh && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt README.md LICENSE tpu_scripts/setup_python.sh ./
RUN mkdir -p tpu_scripts azr_jax configs executors && mv setup_python.sh tpu_scripts/ \
    && tpu_scripts/setup_python.sh "$EXTRA" && rm -rf /root/.cache
COPY azr_jax azr_jax
COPY configs configs
COPY executors executors
COPY tpu_scripts tpu_scripts
ENV PATH="/azr_jax/.venv/bin:$PATH"
RUN python -m executors build && azr-jax --help >/dev/null
CMD ["azr-jax", "--help"]
