"""Reads a save: chooses it, checks that it fits, and places its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from azr_jax.checkpoint.items import attempt, first_line, named, unnamed
from azr_jax.learner.state import TrainState
from azr_jax.model.sharding import placed
from azr_jax.workdir.saved import save_folder, saved_host, saved_steps


def chosen_step(workdir: epath.Path, step: int | None) -> int | None:
    """`step`, or the newest saved one; None if none is saved. Raises ValueError if `step` is not."""
    steps = saved_steps(workdir)
    if step is not None and step not in steps:
        place = save_folder(workdir, step).parent
        raise ValueError(
            f"step {step} is not saved under {place}; choose one of {', '.join(map(str, steps)) or 'none'}"
        )
    return step if step is not None else max(steps, default=None)


def read_state(
    checkpointer: ocp.AsyncCheckpointer,
    workdir: epath.Path,
    step: int,
    abstract_state: TrainState,
    shardings: TrainState,
) -> tuple[TrainState, dict[str, Any]]:
    """(state, host) of a save. Raises ValueError as `Manager.restore`."""
    wanted = placed(abstract_state, shardings)
    params, rest = named(wanted.params), named(wanted.replace(params=None))
    _check_fits(checkpointer, workdir, step, {"params": params, "training": rest})
    host = attempt(lambda: saved_host(workdir, step), lambda error: _damaged(workdir, step, error))
    items = _read(
        checkpointer,
        workdir,
        step,
        params=ocp.args.StandardRestore(params),
        training=ocp.args.StandardRestore(rest),
    )
    state = unnamed(wanted.replace(params=None), items.training)
    return state.replace(params=unnamed(wanted.params, items.params)), host


def read_params(
    checkpointer: ocp.AsyncCheckpointer, workdir: epath.Path, step: int, abstract_params: Any, shardings: Any
) -> Any:
    """The parameters of a save. Raises ValueError as `Manager.restore`."""
    wanted = placed(abstract_params, shardings)
    params = named(wanted)
    _check_fits(checkpointer, workdir, step, {"params": params})
    items = _read(checkpointer, workdir, step, params=ocp.args.StandardRestore(params))
    return unnamed(wanted, items.params)


def _check_fits(
    checkpointer: ocp.AsyncCheckpointer,
    workdir: epath.Path,
    step: int,
    wanted: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]],
) -> None:
    """Raises ValueError unless the save has exactly the wanted arrays, in shape and dtype."""
    place = save_folder(workdir, step)

    def saved_shapes() -> dict[str, dict[str, Any]]:
        metadata: Any = checkpointer.metadata(place)
        items = metadata.item_metadata
        return {item: {name: (leaf.shape, leaf.dtype) for name, leaf in items[item].items()} for item in wanted}

    shapes = attempt(saved_shapes, lambda error: _damaged(workdir, step, error))
    for item, arrays in wanted.items():
        expected = {name: (tuple(array.shape), array.dtype) for name, array in arrays.items()}
        if shapes[item] == expected:
            continue
        names = {*expected, *shapes[item]}
        different = sorted(name for name in names if expected.get(name) != shapes[item].get(name))
        name = different[0]
        raise ValueError(
            f"{place}: made with another model, learner.estimator or learner.kl_coef: {len(different)} arrays of {item}"
            f" differ, {name} is {shapes[item].get(name, 'absent')} there and {expected.get(name, 'absent')} in this"
            " run; use the settings it was made with, or another --workdir"
        )


def _read(checkpointer: ocp.AsyncCheckpointer, workdir: epath.Path, step: int, **items: Any) -> Any:
    return attempt(
        lambda: checkpointer.restore(save_folder(workdir, step), ocp.args.Composite(**items)),
        # TensorStore's error, the cause of Orbax' own, says more.
        lambda error: _damaged(workdir, step, error.__cause__ or error),
    )


def _damaged(workdir: epath.Path, step: int, error: BaseException) -> ValueError:
    path = save_folder(workdir, step)
    older = [saved for saved in saved_steps(workdir) if saved < step]
    then = f"the next start resumes from step {older[-1]}" if older else "the next start begins anew"
    return ValueError(
        f"{path}: this save is damaged ({first_line(error)}); delete it (`rm -r {path}`), then {then}"
        f" (older saves: {', '.join(map(str, older)) or 'none'})"
    )
