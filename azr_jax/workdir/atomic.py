"""Writes files so that no reader sees, and no crash leaves, half a file. No jax."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from etils import epath

# Suffix of a file or folder that is being written.
PARTIAL = ".partial"


def write(file: epath.PathLike, content: str | bytes) -> None:
    """Replaces a file by one of this content, in one move; text is written as UTF-8.

    A bucket never shows half an object, so there it is one plain write.

    Raises:
      OSError: it can't be written, with the path and the fix; what was there before stays.
    """
    target = epath.Path(file)
    encoded = content.encode() if isinstance(content, str) else content
    try:
        if "://" in os.fspath(target):
            target.write_bytes(encoded)
            return
        partial = _partial(Path(target))
        with partial.open("wb") as stream:
            stream.write(encoded)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    except OSError as error:
        raise OSError(f"{target}: can't be written ({error}); free space there, or make it writable") from error


def append(file: Path, content: bytes) -> None:
    """Appends all of the content or none.

    Raises:
      OSError: it can't be written, with the path and the fix; the file is as it was before.
    """
    start = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        if file.exists() and file.stat().st_size > start:  # what is read-only can't be cut either
            os.truncate(file, start)
        raise OSError(
            f"{file}: can't be written ({error}); free space there or make it writable, then run the same command again"
        ) from error


@contextlib.contextmanager
def folder(place: Path, writes: bool = True) -> Iterator[Path]:
    """An empty folder to fill: it replaces `place` at the end and is deleted after an OSError.

    Only a process that `writes` touches the disk; the run's other processes only get the name.

    Raises:
      OSError: it can't be made; what was at `place` before stays.
    """
    partial = _partial(place)
    try:
        if writes:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        yield partial
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)  # leaves room on a full disk
        raise
    if writes:
        if place.exists():
            shutil.rmtree(place)
        partial.replace(place)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}{PARTIAL}")
