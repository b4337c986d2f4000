"""`python -m executors`: see cli.py."""

import signal

from executors.cli import main
from executors.interruption import exit_with

# If the parent ignored SIGCHLD, no process' exit status would be known.
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
exit_with(main)
