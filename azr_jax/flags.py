"""Command lines with a configuration file: each mistake in them is one message."""

from __future__ import annotations

import argparse
import difflib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from executors.interruption import exit_with

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_HELP = ("--help", "-help", "-h", "-?", "--helpshort", "--helpfull")


def parse_flags(argv: Sequence[str], command: str, default: str = "") -> list[str]:
    """Parses as absl does, for `app.run`: --help ends with 0; a wrong flag, key or file is one line and ends with 1.

    `command` is the module whose help is shown; `default` is the file if no --config is given: absl would read a
    default of the flag when the flag is defined.
    """
    if any(word in _HELP for word in argv[1:]):
        _write_help(command)
        sys.exit(0)
    if default and not any(word.lstrip("-").partition("=")[0] == "config" for word in argv):
        argv = [*argv[:1], f"--config={default}", *argv[1:]]
    argv = _with_built_in_files(argv)
    kind = "study" if "study" in flags.FLAGS else "config"
    try:
        return flags.FLAGS(argv, known_only=False)
    except SyntaxError as error:
        sys.exit(f"error: --{kind}: {error.filename}, line {error.lineno}: {error.msg}; fix the file")
    except OSError as error:
        sys.exit(f"error: --{kind}: {error}; name a file that can be read")
    except flags.Error as error:
        if failed := _failure_of_file(error):
            sys.exit(f"error: --{kind}: {failed}; fix the file (configs/base.py names every setting)")
        sys.exit(f"error: {error}; see python -m {command} --help")
    except (AttributeError, KeyError, TypeError, ValueError, ImportError, NameError) as error:
        if unknown := _unknown_key(argv):
            sys.exit(f"error: unknown config key {unknown}; configs/base.py names every key")
        advice = "a --study.KEY or the file names an unknown key" if kind == "study" else "fix the file"
        sys.exit(f"error: --{kind}: it failed with {error!r}; {advice} (configs/base.py names every setting)")


def run(main: Callable[[list[str]], None], command: str, default: str = "") -> None:
    """A command with absl flags, parsed by `parse_flags`; Ctrl-C ends it with one line."""
    exit_with(lambda: app.run(main, flags_parser=lambda argv: parse_flags(argv, command, default)))


class ShowDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows every default but None, "" and False."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default in (None, "", False) or "(default" in (action.help or "")
        return action.help if silent else super()._get_help_string(action)


def configuration_file(name: str) -> str:
    """The file that a --config names: one that exists, or the package's own (`julia` or `configs/julia.py`).

    Raises:
      FileNotFoundError: there is neither; the message names the built-in ones.
    """
    path, colon, argument = name.partition(":")
    built_in, short = built_in_configurations(), path.removeprefix("configs/").removesuffix(".py")
    if Path(path).is_file():
        return name
    if short in built_in:
        return f"{built_in[short]}{colon}{argument}"
    near = difflib.get_close_matches(short, built_in, 1)
    advice = f"did you mean {near[0]}?" if near else f"name a configuration file, or one of {', '.join(built_in)}"
    raise FileNotFoundError(f"no such file: {path}; {advice}")


def built_in_configurations() -> dict[str, Path]:
    """The package's configuration files by name, such as `julia` and `studies/reward_tiny`."""
    files = sorted(_CONFIGS.rglob("*.py"))
    return {path.relative_to(_CONFIGS).as_posix()[:-3]: path for path in files if path.name != "__init__.py"}


def _with_built_in_files(argv: Sequence[str]) -> list[str]:
    """`argv` with paths for built-in names; also set as sys.argv, where ml_collections looks for the file."""
    words = list(argv)
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag.lstrip("-") not in ("config", "study") or not flag.startswith("-"):
            continue
        try:
            if equals:
                words[place] = f"{flag}={configuration_file(value)}"
            elif place + 1 < len(words):
                words[place + 1] = configuration_file(words[place + 1])
        except FileNotFoundError as error:
            sys.exit(f"error: --{flag.lstrip('-')}: {error}")
    sys.argv = words
    return words


def _write_help(command: str) -> None:
    """The command's docstring and its flags with their defaults; absl's own help ends with status 1."""
    module = sys.modules["__main__"]
    sys.stdout.write(f"usage: python -m {command} [flags]\n\n{(module.__doc__ or '').strip()}\n\nflags:\n")
    for flag in sorted(flags.FLAGS.get_key_flags_for_module(sys.argv[0]), key=lambda flag: flag.name):
        name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
        default = "" if flag.default is None else f" (default: {flag.default_as_str})"
        sys.stdout.write(f"  {name}: {flag.help}{default}\n")
    if "config" in flags.FLAGS:
        known = ", ".join(built_in_configurations())
        sys.stdout.write("  --config.KEY: Sets one key; docs/configuration.md lists all.\n\n")
        sys.stdout.write(f"built-in configurations: {known}\n")


def _failure_of_file(error: BaseException) -> str:
    """Where and how a file's own code failed, in one line; "" if it did not.

    ml_collections puts the traceback of a TypeError or ValueError into its message; the error itself is in its context.
    """
    cause: BaseException | None = error
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        own = [frame for frame in frames if not {"ml_collections", "absl"} & set(Path(frame.filename).parts)]
        if any(frame.name in ("get_config", "<module>") for frame in own):
            return f"{own[-1].filename}, line {own[-1].lineno}: {' '.join(str(cause).split())}"
        cause = cause.__context__
    return ""


def _unknown_key(argv: Sequence[str]) -> str:
    """The first override whose key configs/base.py does not have, with the nearest name that it has."""
    from configs import base

    overrides = (argument.partition("=")[0].lstrip("-") for argument in argv if argument.startswith("--config."))
    for name in overrides:
        section: Any = base.get_config().to_dict()
        for part in name.split(".")[1:]:
            if not isinstance(section, dict) or part not in section:
                near = difflib.get_close_matches(part, section if isinstance(section, dict) else (), 1)
                return name + (f" (did you mean {near[0]}?)" if near else "")
            section = section[part]
    return ""
