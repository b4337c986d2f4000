"""How trees of arrays become items of a save, and how a failure of Orbax becomes one error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

Result = TypeVar("Result")


def named(tree: Any) -> dict[str, Any]:
    """Leaves by their path, so that a save does not depend on the classes of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def unnamed(like: Any, leaves: Mapping[str, Any]) -> Any:
    """The tree of `like` with the leaves of these names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: leaves[jax.tree_util.keystr(path, simple=True, separator="/")], like
    )


def attempt(act: Callable[[], Result], explain: Callable[[Exception], Exception]) -> Result:
    """Calls `act`, a call of Orbax, and returns its result.

    Raises:
      Exception: what `explain` makes of a failure: Orbax, TensorStore and storage clients raise errors of many kinds, a
        bare Exception too.
    """
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - see above
        explained = explain(error)
    # Outside the handler: else the error's context would keep the failure, with all that its frames hold, alive.
    raise explained


class _WaitingLoop(asyncio.SelectorEventLoop):
    """An event loop that waits for its tasks before it closes.

    When one of many reads fails, Orbax closes its loop while TensorStore's threads still work on the others. They would
    then report to a closed loop: tracebacks in addition to the error, and once a segmentation fault.
    """

    def close(self) -> None:
        while not self.is_closed() and (tasks := asyncio.all_tasks(self)):
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        super().close()


class _WaitingLoops(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _WaitingLoop()


def wait_for_reads_that_failed() -> None:
    """From now on, event loops of this process wait for their tasks when they are closed."""
    if not isinstance(asyncio.get_event_loop_policy(), _WaitingLoops):
        asyncio.set_event_loop_policy(_WaitingLoops())


def first_line(error: BaseException) -> str:
    """The error in one line for a message; TensorStore's have many lines."""
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__
