"""`python -m azr_jax.status WORKDIR`: the command of monitor/status.py at its old name."""

import sys

from azr_jax.monitor.status import main

if __name__ == "__main__":
    sys.exit(main())
