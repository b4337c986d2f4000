"""What all commands share: Ctrl-C ends them with one line and status 130; `--flag=~/name` is in the home directory."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

_STATUS = 128 + signal.SIGINT
_MESSAGE = "interrupted\n"
# Seconds until a swallowed interruption is raised again; seconds until one that came too soon is.
_AGAIN_S, _SOON_S = 1.0, 0.05


def expect() -> None:
    """Call it at the first import of a command (`python -m PACKAGE...`, azr-jax): nothing has begun before its main."""
    if sys.argv[:1] == ["-m"] or os.path.basename("".join(sys.argv[:1])) == "azr-jax":
        _handle(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, _MESSAGE.encode())
    os._exit(_STATUS)  # an exception while an extension is imported is reported as the extension's failure


def _handle(number: int, handler: Callable[[int, FrameType | None], None]) -> Callable[[], object]:
    """Sets a handler unless the parent made the signal ignored; returns a function that restores the previous one."""
    previous = signal.getsignal(number)
    if previous is not signal.SIG_IGN:
        signal.signal(number, handler)
    return lambda: signal.signal(number, previous)


def _is_interruption(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _comes_too_soon(frame: FrameType | None) -> bool:
    """Whether an exception would be lost here: during an import (one in C prints it, or raises another), or in jax's
    callback of garbage collection (it is printed and ignored).
    """
    while frame is not None:
        code = frame.f_code
        if code.co_filename == "<frozen importlib._bootstrap>" or code.co_name == "_xla_gc_callback":
            return True
        frame = frame.f_back
    return False


def _at_home(argument: str) -> str:
    flag, _, value = argument.partition("=")
    in_home = flag.startswith("-") and value.startswith("~/")
    return f"{flag}={os.path.expanduser(value)}" if in_home else argument


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Ends the process with the status that `main` returns; Ctrl-C ends it with one line and 130.

    Python can swallow KeyboardInterrupt inside callbacks of the garbage collector or C code, so it is raised again
    until it propagates. An import ends first, and so does a callback of jax's. `~/` behind a flag's `=`, which shells
    leave as it is, becomes the home directory in sys.argv.
    """
    came = False
    sys.argv[1:] = map(_at_home, sys.argv[1:])

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came, too_soon = True, _comes_too_soon(frame)
        signal.setitimer(signal.ITIMER_REAL, _SOON_S if too_soon else _AGAIN_S, _AGAIN_S)
        # It has arrived if it is already propagating through finally blocks.
        heard = number == signal.SIGALRM and _is_interruption(sys.exc_info()[1])
        if not heard and not too_soon:
            raise KeyboardInterrupt

    put_back = [_handle(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)]
    try:
        sys.exit(main())
    except SystemExit:
        raise
    except BaseException:
        if not came:
            raise
        sys.stderr.write(_MESSAGE)
        sys.exit(_STATUS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for put in put_back:
            put()
