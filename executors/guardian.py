"""A shell that outlives this process by a moment, to kill what this process can't kill itself when it dies by SIGKILL.

Contained processes die with their parent by a death signal, but not in the milliseconds in which bubblewrap sets up its
child: a pool that is killed just then would leave that child behind.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading

# Lines "+ id" and "- id" keep the list; at the end of the input all that is listed is killed: groups by -id.
_SCRIPT = """
trap '' INT TERM HUP PIPE
ids=' '
while read -r sign id; do
  case $sign in
    +) ids="$ids$id " ;;
    -) ids="${ids%% $id *} ${ids#* $id }" ;;
  esac
done
for id in $ids; do kill -s KILL -- "$id"; done
"""


class Guardian:
    """Keeps the list of what to kill. Thread-safe."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            bufsize=0,
            start_new_session=True,
        )
        self._lock = threading.Lock()

    def _tell(self, sign: str, identity: int) -> None:
        assert self._shell.stdin is not None
        # Without its shell the pool works on; what is lost is the help after a SIGKILL.
        with self._lock, contextlib.suppress(OSError, ValueError):
            os.write(self._shell.stdin.fileno(), f"{sign} {identity}\n".encode())

    def add(self, identity: int) -> None:
        """List a process, or with a negative number a process group."""
        self._tell("+", identity)

    def remove(self, identity: int) -> None:
        """Take it off the list: it has ended."""
        self._tell("-", identity)

    def close(self) -> None:
        """End the shell; it kills what is still listed."""
        assert self._shell.stdin is not None
        with self._lock:
            self._shell.stdin.close()
        self._shell.wait()
