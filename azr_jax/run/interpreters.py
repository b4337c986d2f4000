"""The run's languages, a pool for each, and the versions of everything that a run's numbers depend on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping

import jax
from absl import logging

from azr_jax.config import Config
from azr_jax.selfplay.comments import lexer_of
from executors import LANGUAGES, Language, Limits, Pool, load_languages

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "tokenizers", "numpy")


def run_languages(config: Config) -> dict[str, Language]:
    """The run's languages by name.

    Raises:
      ValueError: a language that no file describes, of which only whole programs run, or without what
        `selfplay.composite_share` needs.
      RuntimeError: an interpreter that is not installed, with how to install it.
    """
    known = dict(LANGUAGES)
    if config.language_directory:
        known |= load_languages(config.language_directory)
    chosen = {}
    for name in config.languages:
        if name not in known:
            raise ValueError(
                f"languages={config.languages!r}: {name!r} is unknown; use one of {', '.join(sorted(known))}"
            )
        if known[name].find() is None:
            raise RuntimeError(
                f"languages={config.languages!r}: no {name} interpreter found; {known[name].install_hint}"
            )
        if known[name].harness is None:
            raise ValueError(
                f"languages={config.languages!r}: {name} has whole programs alone and no values to play with; "
                "evaluate in it, and train in another"
            )
        if config.selfplay.composite_share and not (known[name].definition and lexer_of(name)):
            raise ValueError(
                f"selfplay.composite_share={config.selfplay.composite_share}: functions of {name} can't be renamed: it"
                " needs Language.definition and a name that Pygments knows; set composite_share to 0"
            )
        chosen[name] = known[name]
    return chosen


def open_pool(config: Config, language: Language) -> Pool:
    """A pool with the config's limits."""
    settings = config.executor
    limits = Limits(
        wall_s=settings.wall_s,
        cpu_s=settings.cpu_s,
        memory_mib=settings.memory_mib,
        value_chars=settings.value_chars,
    )
    workers = settings.workers or os.cpu_count() or 1
    return Pool(language, workers=workers, limits=limits, allow_tier=settings.allow_tier)


def versions(languages: Mapping[str, Language]) -> dict[str, str]:
    """Versions of Python, the libraries that matter and the interpreters, and the devices."""
    known = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            known[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            logging.warning("package %s has no version: summary.json leaves it out", package)
    for name, language in languages.items():
        interpreter = language.find()
        if interpreter is not None:
            known[name] = interpreter.version
    devices = jax.devices()
    known["devices"] = f"{len(devices)} x {devices[0].device_kind}"
    return known
