"""Where `check` and `export` write: a file, a pipe or device, or their own standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from azr_jax.workdir import atomic


def is_stdout(out: Path) -> bool:
    """Whether `out` is what standard output goes to: opened a second time, each would overwrite the other."""
    try:
        return os.path.samestat(out.stat(), os.fstat(1))
    except OSError:  # no such file, or standard output is closed
        return False


def is_stream(out: Path) -> bool:
    """Whether `out` is a pipe or a device, which is written to and never replaced."""
    return out.exists() and not out.is_file()


def check_out(out: Path, inputs: Mapping[str, Path]) -> None:
    """Raises ValueError for a folder, for one of the inputs, by their flags, and for a file within one of them."""
    shown = f"--out={str(out)!r}"
    if out.is_dir():
        raise ValueError(f"{shown} is a folder: name a file")
    target = out.resolve()
    for flag, path in inputs.items():
        if path.is_dir():
            if target.is_relative_to(path.resolve()):
                raise ValueError(f"{shown} is within {flag} ({path}): choose a file outside of it")
        elif target == path.resolve() or (out.exists() and path.exists() and out.samefile(path)):
            raise ValueError(f"{shown} would overwrite {flag}: choose another file")


def write(out: Path, text: str) -> None:
    """Replaces a file in one move; a pipe, a device or standard output is written to.

    Raises:
      OSError: it can't be written, with the path and the fix.
    """
    if is_stdout(out):
        sys.stdout.write(text)
    elif is_stream(out):
        try:
            with out.open("w", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise OSError(f"{out}: can't be written ({error}); choose another --out") from error
    else:
        atomic.write(out.resolve(), text)
