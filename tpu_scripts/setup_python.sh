#!/usr/bin/env bash
# Makes .venv with the pinned packages: `tpu_scripts/setup_python.sh [EXTRA ...]`, where EXTRA is test, tpu, cuda12, cuda13 or wandb.
# Safe to run again: a finished installation of the same pins is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null 2>&1; then python=$candidate; break; fi
  done
fi
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup: Python 3.11 or newer is needed; install it, or name it: PYTHON=/path/to/python3.11 make setup" >&2
  exit 1
fi

extras=$(IFS=,; echo "$*")
stamp=.venv/.installed-${extras:-core}
wanted=$(cat pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)
# An upgrade of the system may remove the interpreter of an old .venv.
if [ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  # Debian has ensurepip in a separate package, without which venv fails half-way.
  if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
    # Of this version: python3-venv is for the system's default, 3.10 on Ubuntu 22.04.
    package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    echo "setup: installing $package" >&2
    if ! { as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends "$package"; } >/dev/null; then
      echo "setup: $python cannot make virtual environments; install its venv package (Debian: $package)" >&2
      exit 1
    fi
  fi
  rm -rf .venv
  "$python" -m venv .venv
fi
echo "setup: installing Python packages${extras:+ with $extras} into .venv" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}"
echo "$wanted" >"$stamp"
