"""`python -m azr_jax.status WORKDIR`: the command of monitor/status.py at its old name."""

from azr_jax.flags import exit_with
from azr_jax.monitor.status import main

if __name__ == "__main__":
    exit_with(main)
