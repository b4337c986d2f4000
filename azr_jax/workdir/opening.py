"""The workdir of a run: made once, reopened only with the same settings. No jax."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import secrets
import time
from collections.abc import Iterator
from typing import Any

from absl import logging
from etils import epath

from azr_jax.config import Config, differences, from_mapping
from azr_jax.hosts.hosts import Hosts
from azr_jax.workdir.files import CHECKPOINTS, CONFIG_FILE

_SEEN_S = 5.0
FREE_KEYS = ("steps", "model.remat")
FREE_SECTIONS = ("checkpoint.", "metrics.", "monitoring", "evaluation.", "mesh.")


def location(workdir: str | os.PathLike[str]) -> epath.Path:
    """The workdir as an absolute local path, or as it is when it is remote (gs://...).

    Raises:
      ValueError: a remote place of a kind that nothing here can reach.
    """
    name = os.fspath(workdir)
    if "://" in name and not name.startswith("gs://"):
        raise ValueError(f"--workdir={name}: choose a local folder or gs://BUCKET/FOLDER")
    if name.startswith("gs://") and importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"--workdir={name}: the package gcsfs is not installed; `pip install gcsfs`")
    return epath.Path(name if "://" in name else os.path.abspath(name))


def open_workdir(workdir: str | os.PathLike[str], config: Config, allow_config_change: bool) -> None:
    """Makes the workdir and its config.json, or checks that it belongs to a run with these settings.

    `steps`, `model.remat` and everything under `checkpoint`, `metrics`, `monitoring`, `evaluation` and `mesh` do not
    change what a step computes (remat and mesh no more than its rounding): they may differ from those of the earlier
    start, and config.json then gets the new ones. Any other difference needs `allow_config_change`, once something is
    saved: a start that failed for a wrong setting leaves nothing to protect.

    Raises:
      ValueError: the workdir holds something else, or a run with other settings; each difference is named.
      OSError: the workdir can't be made or written.
    """
    path = location(workdir)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _check_writable(path)
        # A bucket has no empty folders.
        entries = path.iterdir() if path.exists() else ()
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except Exception as error:  # a storage client's own errors too
        raise OSError(
            f"--workdir={os.fspath(workdir)}: can't be written ({error}); free space, mend its permissions, or choose"
            " another --workdir"
        ) from error
    if CONFIG_FILE in names:
        _check_same_settings(path, config, allow_config_change or CHECKPOINTS not in names)
    elif names:
        raise ValueError(
            f"--workdir={os.fspath(workdir)}: not a run of azr_jax (it holds {names[0]} but no {CONFIG_FILE}); choose a"
            " new or empty --workdir"
        )
    _write_whole(path / CONFIG_FILE, config.to_json() + "\n")


def open_on_all_hosts(workdir: str | os.PathLike[str], config: Config, allow_config_change: bool, hosts: Hosts) -> None:
    """`open_workdir` by the first host; the others check that they see the same place.

    Raises:
      ValueError, OSError: as `open_workdir`; or a workdir that is another one on another host.
    """
    path = location(workdir)

    def opened() -> str:
        open_workdir(workdir, config, allow_config_change)
        mark = f".hosts-{secrets.token_hex(8)}"
        if hosts.are_many:
            (path / mark).write_text("every host must see this file")
        return mark

    mark = path / hosts.first("workdir", opened)
    if not hosts.are_many:
        return
    end = time.monotonic() + _SEEN_S  # network file systems may show a new file late
    while not (is_seen := mark.exists()) and time.monotonic() < end:
        time.sleep(0.1)
    blind = [host for host, seen in enumerate(hosts.exchange("workdir is seen", is_seen)) if not seen]
    if hosts.is_first:
        mark.unlink()
    if blind:
        raise ValueError(
            f"--workdir={os.fspath(workdir)}: hosts {blind} don't see what host 0 writes there; name a folder that all"
            " hosts share, or gs://BUCKET/RUN"
        )


@contextlib.contextmanager
def held(workdir: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps other runs out of a local workdir, made before, until this one ends, however it does.

    Raises:
      ValueError: another run is in it.
    """
    if "://" in os.fspath(workdir):
        yield
        return
    with open(os.path.join(workdir, ".lock"), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"--workdir={os.fspath(workdir)}: another run is going on there, and two would mix their metrics and"
                " delete each other's saves; wait for its end or choose another --workdir"
            ) from error
        except OSError as error:
            logging.info("%s: this file system has no locks (%s)", workdir, error)
        yield


def read_config(workdir: str | os.PathLike[str]) -> Config:
    """The settings that the workdir's run was last started with.

    Raises:
      ValueError: no run of azr_jax, or a config.json of another version of it.
    """
    path = location(workdir)
    try:
        return from_mapping(_read_settings(path))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: not a run of azr_jax (no {CONFIG_FILE}); name the --workdir of a run") from error


def _check_same_settings(path: epath.Path, config: Config, allow_config_change: bool) -> None:
    changed = differences(_read_settings(path), json.loads(config.to_json()))
    if not changed:
        return
    binding = [line for line in changed if not line.startswith(FREE_SECTIONS) and line.split(":")[0] not in FREE_KEYS]
    if binding and not allow_config_change:
        listed = "\n  ".join(binding)
        raise ValueError(
            f"--workdir={path}: its run has other settings (old -> new):\n  {listed}\nstart it with the same settings"
            " as before, choose another --workdir, or go on with the new ones by --allow_config_change"
        )
    logging.info("%s goes on with changed settings: %s", path, "; ".join(changed))


def _read_settings(path: epath.Path) -> dict[str, Any]:
    file = path / CONFIG_FILE
    try:
        settings = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: damaged ({error}); restore it from a copy or choose another --workdir") from error
    if not isinstance(settings, dict) or not {"selfplay", "learner"} <= set(settings):
        raise ValueError(
            f"{path}: not a run of azr_jax (its {CONFIG_FILE} is of something else); choose a new --workdir"
        )
    return settings


def _check_writable(path: epath.Path) -> None:
    probe = path / f".writable-{secrets.token_hex(8)}"
    try:
        probe.write_text("written")
    finally:
        probe.unlink(missing_ok=True)


def _write_whole(file: epath.Path, text: str) -> None:
    """Replaces a file in one move, so that a reader or a crash never sees half of it."""
    partial = file.parent / f".{file.name}.partial"
    try:
        partial.write_text(text)
        partial.replace(file)
    except OSError as error:
        raise OSError(f"{file}: can't be written ({error}); free space or choose another --workdir") from error
