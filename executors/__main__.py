"""`python -m executors`: see cli.py."""

import signal

from executors.cli import main
from executors.interruption import exit_with

# The parent may have ignored it: then no process's exit status would be known.
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
exit_with(main)
