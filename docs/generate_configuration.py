"""Writes docs/configuration.md from configs/base.py: `python docs/generate_configuration.py`.

The text of a key is its comment in base.py; types are those of azr_jax/config.py, ranges those that
azr_jax/config_checks.py checks.
"""

from __future__ import annotations

import ast
import io
import tokenize
import typing
from pathlib import Path
from typing import Any

from azr_jax import config, config_checks
from configs import base

PAGE = Path(__file__).with_name("configuration.md")
# Bounds that config_checks.py checks apart from the lower ones of AT_LEAST.
BOUNDS = {
    "seed": "0 to 2**32 - 1",
    "problems.share": "above 0, below 1",
    "selfplay.composite_share": "0 to 1",
    "selfplay.composite_to": "at least composite_from",
    "selfplay.band_low": "0 to below band_high",
    "selfplay.band_high": "above band_low, at most 1",
    "sampler.top_p": "above 0, at most 1",
    "reward.linear_to": "above linear_from",
    "reward.adaptive_low": "0 to below adaptive_high",
    "reward.adaptive_high": "above adaptive_low, at most 1",
    "reward.graded_syntax": "-1 to below graded_runtime",
    "reward.graded_runtime": "between the two others",
    "reward.graded_wrong": "above graded_runtime, at most 0",
    "learner.lr_end": "0 to 1",
    "learner.dual_clip": "0, or above 1",
    "learner.minibatches": "`task_type`, or a number from 1",
    "learner.importance_low": "0 to 1",
    "learner.importance_cap": "0, or at least 1",
    "learner.beta1": "0 to below 1",
    "learner.beta2": "0 to below 1",
    "learner.gamma": "0 to 1",
    "learner.gae_lambda": "0 to 1",
    "reward.smoothing": "above 0, at most 1",
    "pipeline.early_share": "above 0, at most 1",
    "mesh.data": "at least 1; -1: the rest",
    "mesh.fsdp": "at least 1; -1: the rest",
    "mesh.tensor": "0, or at least 1; -1: the rest",
    "mesh.sampler_tensor": "0, or at least 1",
}
SECTIONS = {
    "": "The run",
    "model": "Model",
    "mesh": "Devices",
    "selfplay": "Self-play",
    "problems": "Problems",
    "sampler": "Sampler",
    "pipeline": "Pipeline",
    "reward": "Rewards",
    "learner": "Learner",
    "executor": "Executors",
    "evaluation": "Evaluation",
    "checkpoint": "Checkpoints",
    "metrics": "Metrics",
    "monitoring": "Monitoring",
    "pretrain": "Pretraining",
}
STUDIES = """
Built-in studies, grids of runs (`azr-jax study` takes their file, `configs/studies/NAME.py`):

"""
HEAD = "| key | type | default | allowed | what it does, when to change it |\n|---|---|---|---|---|\n"
INTRODUCTION = """# Configuration

This page is generated from `configs/base.py` by `docs/generate_configuration.py`; do not edit it.

A configuration is a Python file with a function `get_config()`. `configs/base.py` names every key once; the other files
override some of them. The order of precedence is: command line, your file, `configs/base.py`.

    azr-jax train --config=julia                                  # a built-in configuration, by name
    azr-jax train --config=julia --config.learner.lr=2e-6         # with one key changed
    azr-jax train --config=mine.py --workdir=runs/mine            # a file of your own

A file of your own begins from a built-in one:

```python
from configs import julia


def get_config():
    config = julia.get_config()
    config.steps = 128
    config.model.path = "weights/Qwen2.5-Coder-3B"
    return config
```

A tuple of names is written `--config.languages=julia,racket`, one of numbers `--config.language_weights=1,2`. An
unknown key, a value of the wrong type or out of range, and a combination that can't work end the command with one line
before anything is loaded.
The resolved settings of a run are in `WORKDIR/config.json`.

Built-in configurations:

"""


def comments(source: str) -> dict[int, str]:
    """The comment of each line of the source; a block of comment lines belongs to the line after it."""
    texts: dict[int, str] = {}
    block = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ").rstrip()
            if token.line.lstrip().startswith("#"):
                block = f"{block} {text}".strip()
            else:
                texts[token.start[0]] = text
        elif token.type not in (tokenize.NL, tokenize.COMMENT) and block:
            texts.setdefault(token.start[0], block)
            block = ""
    return texts


def key_lines(source: str) -> dict[str, int]:
    """The line of each key of base.py."""
    lines: dict[str, int] = {}
    for function in (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            section = function.name.lstrip("_")
            if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Attribute):
                lines[target.attr] = node.lineno
                section = target.attr
            elif not isinstance(node, ast.Return):
                continue
            dicts = [inner for inner in ast.walk(node) if isinstance(inner, ast.Dict)]
            for name in (key for inner in dicts for key in inner.keys if isinstance(key, ast.Constant)):
                lines[f"{section}.{name.value}"] = name.lineno
    return lines


def settings_types(kind: type, prefix: str = "") -> dict[str, str]:
    """The type of each key as text, from the dataclasses of azr_jax/config.py."""
    types: dict[str, str] = {}
    for name, hint in typing.get_type_hints(kind).items():
        if typing.get_origin(hint) is tuple:
            types[prefix + name] = f"tuple of {typing.get_args(hint)[0].__name__}"
        elif hint.__module__ == config.__name__:
            types |= settings_types(hint, f"{prefix}{name}.")
        else:
            types[prefix + name] = hint.__name__
    return types


def allowed(key: str) -> str:
    """The values that config_checks.py accepts for a key."""
    if choices := config_checks.CHOICES.get(key):
        return ", ".join(f"`{choice}`" for choice in choices)
    if key in BOUNDS:
        return BOUNDS[key]
    least = config_checks.AT_LEAST.get(key)
    return "" if least is None else f"at least {least:g}"


def values(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dict's values by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in mapping.items():
        flat |= values(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def built_in(folder: Path) -> str:
    """A table of the configurations in a folder: name and first line of the docstring."""
    rows = ["| name | what |\n|---|---|\n"]
    for file in sorted(folder.glob("*.py")):
        if file.name not in ("__init__.py", "base.py"):
            first = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
            rows.append(f"| `{file.stem}` | {first} |\n")
    return "".join(rows)


def page() -> str:
    """The page's text."""
    source = Path(base.__file__).read_text()
    texts, lines = comments(source), key_lines(source)
    kinds, defaults = settings_types(config.Config), values(base.get_config().to_dict())
    folder = Path(base.__file__).parent
    parts = [INTRODUCTION, built_in(folder), STUDIES, built_in(folder / "studies")]
    for section, title in SECTIONS.items():
        parts.append(f"\n## {title}\n\n{HEAD}")
        keys = (key for key in defaults if key.rpartition(".")[0] == section)
        for key in sorted(keys, key=lambda key: lines[key]):
            text = texts.get(lines[key], "").replace("|", "\\|")
            parts.append(f"| `{key}` | {kinds[key]} | `{defaults[key]!r}` | {allowed(key)} | {text} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
