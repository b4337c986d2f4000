"""`python -m azr_jax.status WORKDIR`: the command of monitor/status.py at its old name."""

from azr_jax.monitor.status import main
from executors.interruption import exit_with

if __name__ == "__main__":
    exit_with(main)
