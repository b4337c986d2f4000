"""`python -m executors`: see cli.py."""

import signal

from executors.cli import main
from executors.interruption import exit_with

# Whoever started this may have left it ignored: then no process's end could be told.
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
exit_with(main)
