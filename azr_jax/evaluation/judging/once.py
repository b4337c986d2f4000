"""What is computed once for each problem, whichever thread asks first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Made = TypeVar("_Made")


class Once(Generic[_Made]):
    """Values by name. Thread-safe: names do not wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, _Made] = {}

    def get(self, name: str, make: Callable[[], _Made], keep: Callable[[_Made], bool]) -> _Made:
        """The name's value; `make` is called if there is none. One that is not to keep is value again the next time."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name in self._known:
                return self._known[name]
            value = make()
            if keep(value):
                self._known[name] = value
            return value
