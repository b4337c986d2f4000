# The image of a run on a TPU slice (and of any Debian machine): the pinned packages and every interpreter.
#
#   docker build --tag IMAGE .                       for TPUs
#   docker build --build-arg EXTRA=cuda --tag IMAGE .
#
# It must be started with --privileged: the TPU needs the host's devices, and the sandbox makes namespaces.
FROM python:3.11-slim-bookworm
ARG EXTRA=tpu
WORKDIR /azr_jax
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Slowest first, so that a change of the code builds in seconds.
COPY tpu_scripts/install_interpreters.sh tpu_scripts/
RUN tpu_scripts/install_interpreters.sh && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt README.md LICENSE tpu_scripts/setup_python.sh ./
RUN mkdir -p tpu_scripts azr_jax configs executors && mv setup_python.sh tpu_scripts/ \
    && tpu_scripts/setup_python.sh "$EXTRA" && rm -rf /root/.cache
COPY azr_jax azr_jax
COPY configs configs
COPY executors executors
COPY tpu_scripts tpu_scripts
ENV PATH="/azr_jax/.venv/bin:$PATH"
RUN python -m executors build && python -m executors --help >/dev/null
CMD ["python", "-m", "azr_jax.main", "--help"]
