"""A shell that outlives this process, to clean up if SIGKILL ends it.

Contained processes die with their parent by a death signal, but not in the milliseconds in which bubblewrap sets up its
child: a pool that is killed just then would leave that child behind. And nothing else deletes control groups and,
without namespaces, the folders of whole programs.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from pathlib import Path

# Lines "+entry" and "-entry" change the list. An entry is a letter and a process ("k"; a group by a negative number), a
# folder ("d") or a control group ("g"). At the end of the input all listed entries are killed and deleted; for a group
# every process in it, also a child that was started but not listed yet.
_SCRIPT = """
trap '' INT TERM HUP PIPE
set -f
nl='
'
list=$nl
while IFS= read -r line; do
  entry=${line#?}
  case $line in
    +*) list="$list$entry$nl" ;;
    -*) case $list in *"$nl$entry$nl"*) list="${list%%"$nl$entry$nl"*}$nl${list#*"$nl$entry$nl"}" ;; esac ;;
  esac
done
IFS=$nl
for entry in $list; do case $entry in k*) kill -s KILL -- "${entry#k}" ;; esac; done
for entry in $list; do case $entry in d*) rm -rf -- "${entry#d}" ;; esac; done
for round in 1 2 3 4 5 6 7 8 9 10; do
  left=
  for entry in $list; do
    case $entry in g*)
      [ ! -r "${entry#g}/cgroup.procs" ] || kill -s KILL -- $(cat "${entry#g}/cgroup.procs")
      rmdir -- "${entry#g}" || { [ ! -d "${entry#g}" ] || left=1; }
    esac
  done
  [ -n "$left" ] || break
  sleep 0.05
done
"""


def process(number: int) -> str:
    """The entry of a process, or with a negative number of a process group."""
    return f"k{number}"


def folder(path: Path) -> str:
    """The entry of a folder that is deleted with what it holds."""
    return f"d{path}"


def group(path: Path) -> str:
    """The entry of a control group."""
    return f"g{path}"


class Guardian:
    """Keeps the list of what to clean up. Thread-safe; a context manager that closes it."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            bufsize=0,
            start_new_session=True,
        )
        self._lock = threading.Lock()

    def __enter__(self) -> Guardian:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, sign: str, entry: str) -> None:
        assert self._shell.stdin is not None
        # Without its shell the pool still works; only the clean-up after a SIGKILL is lost.
        with self._lock, contextlib.suppress(OSError, ValueError):
            os.write(self._shell.stdin.fileno(), os.fsencode(f"{sign}{entry}\n"))

    def add(self, entry: str) -> None:
        """Add an entry that `process`, `folder` or `group` made."""
        self._write("+", entry)

    def remove(self, entry: str) -> None:
        """Remove an entry that no longer exists; a group that does, since its memory is still being freed, stays."""
        if not (entry.startswith("g") and os.path.isdir(entry[1:])):
            self._write("-", entry)

    def close(self) -> None:
        """End the shell; it cleans up what is still listed."""
        assert self._shell.stdin is not None
        with self._lock:
            self._shell.stdin.close()
        self._shell.wait()
