"""The lines of `check`: kept beside --out while they are judged, written to it in order when all are there.

FILE.begun is a journal: its first line names the command, each other one is an output line with its completion's
number. However a command ends, the same command takes from it what was judged and judges the rest: what is missing or
damaged, and what the executors failed on, which the journal never has. FILE itself is replaced in one move.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azr_jax.evaluation.commands import outputs
from azr_jax.evaluation.judging.judge import Completion
from azr_jax.workdir import atomic

_FREE = "free space there, then give the same command again"
_HEADER = b'{"command": "'
_Line = Mapping[str, Any]


class Stream:
    """An --out that is no file of its own: every line is written when it is judged, and nothing is kept."""

    kept: Mapping[int, _Line] = {}

    def __init__(self, out: Path, file: io.FileIO) -> None:
        self._out, self._file = out, file

    def add(self, number: int, line: _Line) -> None:
        """Writes a line, after those of lower numbers."""
        _append(self._file, self._out, json.dumps(line).encode(), "choose another --out")

    def finish(self, lines: Sequence[_Line]) -> None:
        """All lines are written already."""


class Journal:
    """FILE.begun of a command, open in `file`.

    kept: the lines that it has already, by their number. fields: what every line has. Raises ValueError for a file of
    another command that judged something, and for lines of other completions.
    """

    def __init__(
        self, out: Path, file: io.FileIO, command: str, completions: Sequence[Completion], fields: Sequence[str]
    ) -> None:
        self._target = out.resolve()
        self.path = begun_of(out)
        self._file = file
        self.kept: Mapping[int, _Line] = {}
        self.added = 0
        self.finished = False
        content = file.readall()
        *whole, _ = content.split(b"\n")  # what follows the last line end was cut off
        header = json.dumps({"command": command}).encode()
        if whole[:1] == [header]:
            file.truncate(content.rfind(b"\n") + 1)
            self.kept = self._lines(whole, completions, fields)
            return
        # A first line that was cut off is the beginning of a header.
        is_ours = _object(whole[0]).keys() >= {"command"} if whole else _HEADER.startswith(content[: len(_HEADER)])
        if not is_ours:
            raise ValueError(f"{self.path}: no file of an interrupted check; delete it, or choose another --out")
        if len(whole) > 1:
            raise ValueError(
                f"--out={str(out)!r}: {self.path.name} beside it holds what an interrupted command with other problems,"
                " completions, settings or interpreter judged: choose another --out, or delete that file"
            )
        file.truncate(0)
        _append(file, self.path, header, _FREE)

    def add(self, number: int, line: _Line) -> None:
        """Keeps a line, unless the executors failed on it: the same command judges it again."""
        if "infrastructure" not in line:
            _append(self._file, self.path, json.dumps({"number": number, "line": line}).encode(), _FREE)
            self.added += 1

    def finish(self, lines: Sequence[_Line]) -> None:
        """Writes all lines to --out. The journal stays only if the executors failed on a line."""
        atomic.write(self._target, "".join(json.dumps(line) + "\n" for line in lines))
        self.finished = True
        if not any("infrastructure" in line for line in lines):
            self.path.unlink(missing_ok=True)

    def _lines(
        self, whole: Sequence[bytes], completions: Sequence[Completion], fields: Sequence[str]
    ) -> dict[int, _Line]:
        lines = {}
        for place, text in enumerate(whole[1:], start=2):
            entry = _object(text)
            number, line = entry.get("number"), entry.get("line")
            if not isinstance(number, int) or not isinstance(line, dict) or not line.keys() >= set(fields):
                continue  # damaged
            judged = completions[number] if 0 <= number < len(completions) else Completion("", "")
            if _identity(line["name"], line) != _identity(judged.name, judged.extra):
                raise ValueError(
                    f"{self.path}, line {place}: {line['name']!r:.80} is not completion {number} of this command;"
                    " delete the file to judge all again"
                )
            lines[number] = line
        return lines


@contextlib.contextmanager
def open_lines(
    out: Path, command: str, completions: Sequence[Completion], fields: Sequence[str]
) -> Iterator[Journal | Stream]:
    """Where a command's lines go. An interruption in the block gets a message that says what is kept.

    command: names what the lines depend on. fields: what every line has.

    Raises:
      ValueError: as Journal; or another command is writing to `out`.
      OSError: FILE.begun can't be written.
    """
    if outputs.is_stdout(out) or outputs.is_stream(out):
        own = outputs.is_stdout(out)
        with open(1 if own else out, "ab", buffering=0, closefd=not own) as file:
            try:
                yield Stream(out, file)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("the same command begins again from the first line") from None
        return
    with _held(out) as file:
        journal = Journal(out, file, command, completions, fields)
        try:
            yield journal
        except KeyboardInterrupt:
            if journal.finished:
                raise KeyboardInterrupt("all lines are in --out") from None
            judged = len(journal.kept) + journal.added
            raise KeyboardInterrupt(f"{journal.path} has {judged} lines; the same command continues") from None


def begun_of(out: Path) -> Path:
    """FILE.begun."""
    target = out.resolve()
    return target.with_name(f"{target.name}.begun")


@contextlib.contextmanager
def _held(out: Path) -> Iterator[io.FileIO]:
    """FILE.begun, made if it is not there, and locked against other commands until the block or the process ends."""
    path = begun_of(out)
    while True:
        try:
            file = open(path, "a+b", buffering=0)
        except OSError as error:
            raise OSError(f"{path}: can't be written ({error}); free space there, or choose another --out") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"--out={str(out)!r}: another check is writing it; wait for its end, or choose another --out"
                ) from None
            except OSError:
                pass  # this file system has no locks
            # Another command may have ended, and deleted the file, between the opening and the lock.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                file.seek(0)
                yield file
                return


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object of a line; empty if it is damaged."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _identity(name: str, fields: _Line) -> str:
    """What tells a completion's line from another's; as text, in which a NaN equals itself."""
    return json.dumps([name, fields.get("id")])


def _append(file: io.FileIO, path: Path, text: bytes, fix: str) -> None:
    rest = text + b"\n"
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise OSError(f"{path}: can't be written ({error}); {fix}") from error
