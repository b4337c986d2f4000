"""The workdir of a run: made once, reopened only with the same settings. No jax."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator

from absl import logging
from etils import epath

from azr_jax.config import Config
from azr_jax.hosts.hosts import Hosts
from azr_jax.workdir import atomic, start
from azr_jax.workdir.files import CHECKPOINTS, CONFIG_FILE, ended_steps
from azr_jax.workdir.settings import binding, changed_settings, location

_SEEN_S = 5.0


def open_workdir(workdir: str | os.PathLike[str], config: Config, allow_config_change: bool) -> None:
    """Makes the workdir and its config.json, or checks that it belongs to a run with these settings.

    What settings.MAY_CHANGE lists may differ from the earlier start. Any other difference needs `allow_config_change`
    once something is saved. From then on config.json changes only when a run has started (`note_start`): a start that
    fails leaves it as it was.

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
            f"--workdir={os.fspath(workdir)}: can't be written ({error}); free space, fix its permissions, or choose"
            " another --workdir"
        ) from error
    if CONFIG_FILE in names:
        _check_same_settings(path, config, allow_config_change or CHECKPOINTS not in names)
    elif names:
        raise ValueError(
            f"--workdir={os.fspath(workdir)}: not a run of azr_jax (it holds {names[0]} but no {CONFIG_FILE}); choose a"
            " new or empty --workdir"
        )
    if CHECKPOINTS not in names:
        atomic.write(path / CONFIG_FILE, config.to_json() + "\n")


def note_start(workdir: str | os.PathLike[str], config: Config) -> None:
    """Writes config.json and start.json of a run that starts. Call it when everything is open and the workdir held."""
    path = location(workdir)
    atomic.write(path / CONFIG_FILE, config.to_json() + "\n")
    if ended_steps(path) != config.steps:  # a finished run stays as it is
        start.write(path)


def open_on_all_hosts(workdir: str | os.PathLike[str], config: Config, allow_config_change: bool, hosts: Hosts) -> None:
    """`open_workdir` by the first host; the others check that they see the same place.

    Raises:
      ValueError, OSError: as `open_workdir`; or a workdir that the hosts do not share.
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
    """Locks an existing local workdir against other runs until the block or the process ends.

    Raises:
      ValueError: another run holds it.
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


def _check_same_settings(path: epath.Path, config: Config, allow_config_change: bool) -> None:
    changed = changed_settings(path, config)
    if not changed:
        return
    if (refused := binding(changed)) and not allow_config_change:
        listed = "\n  ".join(refused)
        raise ValueError(
            f"--workdir={path}: its run has other settings (old -> new):\n  {listed}\nstart it with the same settings"
            " as before, choose another --workdir, or use the new ones with --allow_config_change"
        )
    logging.info("%s goes on with changed settings: %s", path, "; ".join(changed))


def _check_writable(path: epath.Path) -> None:
    probe = path / f".writable-{secrets.token_hex(8)}"
    try:
        probe.write_text("written")
    finally:
        probe.unlink(missing_ok=True)
