"""How trees of arrays become items of a save, and how a failure of Orbax becomes one error."""

from __future__ import annotations

import functools
import gc
import logging
import sys
import warnings
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


def placed(shapes: Any, shardings: Any) -> Any:
    """The shapes, each with where it shall lie."""
    return jax.tree.map(
        lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding), shapes, shardings
    )


def attempt(act: Callable[[], Result], explain: Callable[[Exception], Exception]) -> Result:
    """What `act`, a call of Orbax, gives.

    Raises:
      Exception: what `explain` makes of a failure: Orbax, TensorStore and storage clients raise errors of many kinds, a
        bare Exception too.
    """
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - see above
        explained = explain(error)
    # Not from within the handler: an error that holds the failure would hold its coroutines too.
    _drop_coroutines()
    raise explained


def _drop_coroutines() -> None:
    """Collects, without a word, the coroutines that a failure leaves in Orbax' closed event loop.

    Left alone they print "Event loop is closed" and "Task exception was never retrieved" at any later time.
    """
    hook, asyncio_log = sys.unraisablehook, logging.getLogger("asyncio")
    was_disabled = asyncio_log.disabled
    sys.unraisablehook, asyncio_log.disabled = lambda _: None, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # some were never awaited
            gc.collect()
    finally:
        sys.unraisablehook, asyncio_log.disabled = hook, was_disabled


def hide_late_callbacks() -> None:
    """From now on says nothing of a thread of TensorStore that reports to an event loop which a failure has closed.

    Its error is the failure's, which `attempt` explains; it would be a traceback beside that one line.
    """
    if getattr(sys.unraisablehook, "func", None) is not _report:
        sys.unraisablehook = functools.partial(_report, sys.unraisablehook)


def _report(report: Callable[[Any], Any], unraisable: Any) -> None:
    # Called from no Python function: so by a thread of another library.
    trace = unraisable.exc_traceback
    is_late = trace is not None and trace.tb_frame.f_code.co_name == "call_soon_threadsafe"
    if not (is_late and str(unraisable.exc_value) == "Event loop is closed"):
        report(unraisable)


def first_line(error: BaseException) -> str:
    """The error in a line that fits in a message; TensorStore's have many."""
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__
