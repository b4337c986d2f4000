"""The settings that a workdir's run was started with, and which of them may change. No jax."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from azr_jax.config import Config, differences, from_mapping
from azr_jax.workdir.files import CONFIG_FILE
from azr_jax.workdir.json_lines import json_object
from azr_jax.workdir.saved import host_file, saved_settings

# What a later start may change, and why: the only list of it. A name that ends in a dot is a whole section.
MAY_CHANGE = {
    "steps": "how long the run goes on",
    "checkpoint.": "when it is saved",
    "metrics.": "where its numbers go",
    "monitoring.": "what is watched",
    "mesh.": "how arrays are sharded: no more than rounding",
    "model.remat": "what is recomputed: no more than rounding",
    "learner.rows_per_microbatch": "how much one call computes: no more than rounding",
    "sampler.slots": "how many rows are decoded together: no more than rounding",
    "executor.workers": "how many programs run at a time",
    "evaluation.": "what is scored, not what is trained",
    "pretrain.": "no part of a run",
}
# The scores of a finished run depend on these: the parts of a study must agree on them.
_CHANGES_SCORES = "evaluation."
_EXCEPT = "evaluation.every"


def binding(changed: Iterable[str], scores: bool = False) -> list[str]:
    """The `config.differences` that a later start may not have; with `scores` also those that its scores depend on."""
    return [line for line in changed if not _may_change(line.split(":")[0], scores)]


def _may_change(key: str, scores: bool) -> bool:
    if scores and key.startswith(_CHANGES_SCORES) and key != _EXCEPT:
        return False
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in MAY_CHANGE)


def changed_settings(workdir: epath.PathLike, config: Config) -> list[str]:
    """`config.differences` of the workdir's settings and these. Raises ValueError as `read_settings`."""
    return differences(completed(read_settings(workdir)), json.loads(config.to_json()))


def read_config(workdir: epath.PathLike, step: int | None = None) -> Config:
    """The settings that the workdir's run was last started with, or those that made its save of a step.

    Raises ValueError as `read_settings`.
    """
    path = location(workdir)
    file, settings = path / CONFIG_FILE, read_settings(path)
    if step is not None:
        file, settings = host_file(path, step), saved_settings(path, step) or settings
    try:
        return from_mapping(completed(settings))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as in config.json, and those that an earlier version did not have, as they are by default."""
    from configs import base  # beside this package; no other function here needs it

    every = dict(settings)
    for key, default in json.loads(json.dumps(base.get_config().to_dict())).items():
        own = settings.get(key, default)
        every[key] = default | own if isinstance(default, dict) and isinstance(own, dict) else own
    return every


def read_settings(workdir: epath.PathLike) -> dict[str, Any]:
    """The content of config.json.

    Raises:
      ValueError: no run of azr_jax there, or a config.json that is damaged or of another version.
    """
    path = location(workdir)
    # A folder without config.json is no run.
    fix = "restore it from a copy, or write there what a save holds as `settings` (checkpoints/STEP/host/metadata)"
    settings = json_object(path / CONFIG_FILE, fix)
    if not settings and not (path / CONFIG_FILE).exists():
        raise ValueError(f"{path}: not a run of azr_jax (no {CONFIG_FILE}); name the --workdir of a run")
    if not {"selfplay", "learner"} <= set(settings):
        raise ValueError(
            f"{path}: not a run of azr_jax (its {CONFIG_FILE} is another program's); choose another --workdir"
        )
    return settings


def location(workdir: epath.PathLike) -> epath.Path:
    """The workdir as an absolute local path, or unchanged if it is remote (gs://...).

    Raises:
      ValueError: a remote place other than gs://, or gs:// without the package gcsfs.
    """
    name = os.fspath(workdir)
    if "://" in name and not name.startswith("gs://"):
        raise ValueError(f"--workdir={name}: choose a local folder or gs://BUCKET/FOLDER")
    if name.startswith("gs://") and importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"--workdir={name}: the package gcsfs is not installed; `pip install gcsfs`")
    if "://" in name and not logging.getLogger("gcsfs").level:
        # Where the bucket can't be reached, gcsfs logs a traceback for each try, and then raises the error.
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    return epath.Path(name if "://" in name else os.path.abspath(name))


@contextlib.contextmanager
def reading(workdir: epath.PathLike) -> Iterator[None]:
    """For a remote workdir, turns what a storage client raises into OSError that names the place and the fix.

    No credentials, no rights, no such bucket, no network. A ValueError stays: it is about what the files hold.
    """
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        if "://" not in os.fspath(workdir):
            raise
        raise OSError(
            f"{os.fspath(workdir)}: can't be read ({type(error).__name__}: {error}); check its name, your rights"
            " (`gcloud auth application-default login`) and that the package gcsfs is installed"
        ) from error
