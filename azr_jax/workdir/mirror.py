"""A remote workdir (gs://...): files that grow are written to a local folder and copied from there. No jax.

config.json and the checkpoints are written to the bucket directly; metrics, transcripts, report and export are copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from etils import epath

from azr_jax.workdir.files import METRICS_FILE, REPORT_FILE, SEEDING_FILE, SUMMARY_FILE, TRANSCRIPTS_FILE, WANDB_FILE
from executors.compiled import user_cache

# Files of the earlier start that a resumed run needs, possibly on another machine.
NEEDED = (METRICS_FILE, TRANSCRIPTS_FILE, SEEDING_FILE, SUMMARY_FILE, REPORT_FILE, WANDB_FILE)


class Mirror:
    """The local folder of a workdir: the workdir itself, or one in the user's cache that follows a remote workdir.

    `remote` is given by tests; otherwise a workdir with "://" is remote.
    """

    def __init__(self, workdir: str, remote: bool | None = None) -> None:
        self._remote = epath.Path(workdir) if (remote if remote is not None else "://" in workdir) else None
        self.local = Path(workdir) if self._remote is None else _cache_folder(workdir)

    def fetch(self) -> None:
        """Replaces the local folder by a copy of the remote files that a resumed run needs.

        Raises:
          OSError: the copy failed; the run must not go on.
        """
        if self._remote is None:
            return
        shutil.rmtree(self.local, ignore_errors=True)
        self.local.mkdir(parents=True)
        with _as_os_error(self._remote):
            for name in NEEDED:
                if (self._remote / name).exists():
                    (self.local / name).write_bytes((self._remote / name).read_bytes())

    def forget(self, name: str) -> None:
        """Deletes a file of a remote workdir, if there is one; the local copy stays.

        Raises:
          OSError: it can't be deleted.
        """
        if self._remote is not None:
            with _as_os_error(self._remote / name):
                (self._remote / name).unlink(missing_ok=True)

    def push(self, names: Sequence[str]) -> None:
        """Uploads local files and folders of these names, in this order; missing ones are skipped.

        Raises:
          OSError: a copy failed.
        """
        if self._remote is None:
            return
        for name in names:
            place = self.local / name
            files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
            for file in files:
                if file.is_file():
                    target = self._remote / file.relative_to(self.local).as_posix()
                    with _as_os_error(target):
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(file.read_bytes())


@contextlib.contextmanager
def _as_os_error(place: epath.Path) -> Iterator[None]:
    """Turns the exceptions of storage clients into OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{place}: {type(error).__name__}: {error}") from error


def _cache_folder(workdir: str) -> Path:
    return user_cache() / "runs" / hashlib.sha256(workdir.encode("utf-8", "surrogateescape")).hexdigest()[:16]
