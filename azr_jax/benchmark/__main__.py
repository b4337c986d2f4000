"""`python -m azr_jax.benchmark ...` runs `python -m azr_jax.speed ...`, after one line that says so."""

from __future__ import annotations

import sys

from azr_jax.speed.__main__ import main
from executors.interruption import exit_with

if __name__ == "__main__":
    sys.stderr.write("python -m azr_jax.benchmark is now python -m azr_jax.speed\n")
    exit_with(main)
