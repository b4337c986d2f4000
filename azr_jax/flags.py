"""What the commands share: flags with a configuration file, whose mistakes are one message, and a GPU's memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

GPU_SHARE = 0.95  # of a GPU's memory, that jax takes


def parse_flags(argv: Sequence[str], command: str, default: str = "") -> list[str]:
    """Parses as absl does, for `app.run`; ends with 1 where a flag, a key or the file is wrong.

    `command` is the module that has the help; `default` the file when no --config is given: a default of the flag would
    be read, with the keys that are given, when the flag is defined.
    """
    if default and not any(word.lstrip("-").partition("=")[0] == "config" for word in argv):
        argv = [*argv[:1], f"--config={default}", *argv[1:]]
    try:
        return flags.FLAGS(list(argv), known_only=False)
    except (AttributeError, KeyError) as error:
        unknown = _unknown_key(argv)
        if not unknown:
            sys.exit(f"error: --config: the file itself ended with {error!r}; mend it (its keys are configs/base.py's)")
        sys.exit(f"error: unknown config key {unknown}: {error}; configs/base.py names every key")
    except SyntaxError as error:
        sys.exit(f"error: --config: {error.filename}, line {error.lineno}: {error.msg}; mend the file")
    except OSError as error:
        sys.exit(f"error: --config: {error}; name a configuration file, such as configs/tiny.py")
    except flags.Error as error:
        sys.exit(f"error: {error}; see python -m {command} --help")


def take_device_memory() -> None:
    """Has jax take 95% of a GPU's memory, not three quarters, unless the environment says how much.

    To be called before jax meets its devices. The 3B's update wants nine tenths of 80 GB.
    """
    if "XLA_CLIENT_MEM_FRACTION" not in os.environ:  # the newer name, and jax refuses both together
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(GPU_SHARE))


def _unknown_key(argv: Sequence[str]) -> str:
    """The first override whose key configs/base.py does not have."""
    from configs import base

    overrides = (argument.partition("=")[0].lstrip("-") for argument in argv if argument.startswith("--config."))
    for name in overrides:
        section: Any = base.get_config().to_dict()
        for part in name.split(".")[1:]:
            if not isinstance(section, dict) or part not in section:
                return name
            section = section[part]
    return ""
