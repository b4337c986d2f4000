"""`python -m executors`: see cli.py."""

import signal
import sys

from executors.cli import main

# Whoever started this may have left it ignored: then no process's end could be told.
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
try:
    raise SystemExit(main())
except KeyboardInterrupt:
    sys.stderr.write("python -m executors: interrupted\n")
    raise SystemExit(128 + signal.SIGINT) from None
