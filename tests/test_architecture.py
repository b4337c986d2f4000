"""The rooms and their walls: who may import whom, what starts without jax, and what may not be written at all."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from conftest import REPOSITORY

from azr_jax.config_checks import CHOICES
from executors.sandbox.launch import Tier

SOURCES = sorted(path for room in ("azr_jax", "configs", "executors") for path in (REPOSITORY / room).rglob("*.py"))
# Removed or deprecated in the newest jax: DESIGN names their successors.
DEPRECATED = re.compile(
    r"\bpjit\b|jax\.experimental\.(shard_map|maps|pjit)|with (self\.)?mesh:|thread_resources|jax\.tree_(map|leaves)\b"
    r"|jax\.random\.PRNGKey|nnx\.jit|\.xmap\b|host_callback"
)
TRAINER = [path for path in SOURCES if path.relative_to(REPOSITORY).parts[0] != "executors"]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)


def test_imports_go_only_downward():
    done = python("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "modules",
    [
        "executors, executors.cli",
        "azr_jax.types, azr_jax.config",
        "azr_jax.selfplay.buffers, azr_jax.selfplay.parsing, azr_jax.selfplay.prompts, azr_jax.selfplay.rewards,"
        " azr_jax.selfplay.validation",
        "azr_jax.main",
    ],
)
def test_what_starts_without_jax(modules):
    done = python("-c", f"import sys, {modules}; print(sorted({{'jax', 'flax', 'torch'}} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_help_answers_at_once_and_without_jax():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python("-X", "importtime", "-m", "azr_jax.main", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, which other work on the machine does not lengthen.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
    assert "--config" in done.stdout
    assert "--workdir" in done.stdout
    assert not re.search(r"\| +(jax|flax|orbax)\b", done.stderr)


@pytest.mark.parametrize("path", TRAINER, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_deprecated_jax_no_eval_no_print(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not (deprecated := DEPRECATED.search(text)), deprecated
    assert len(text.splitlines()) <= 500
    with warnings.catch_warnings(action="error"):
        tree = ast.parse(text)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"print", "eval", "exec", "compile", "__import__"}
    broad = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]
    assert not broad, f"bare except in line {broad}"


@pytest.mark.parametrize("room", ["azr_jax", "configs", "executors", "tests"])
def test_names_say_what_they_hold(room):
    """No local is called one, each, found or made, and no function but a table of settings has more than 80 lines."""
    vague, long = [], []
    for path in sorted((REPOSITORY / room).rglob("*.py")):
        if "attacks" in path.parts:
            continue  # hostile programs: text of the tests
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
            name = node.arg if isinstance(node, ast.arg) else name
            if name in ("one", "each", "found", "made") and not isinstance(node, ast.AnnAssign):
                vague.append(f"{path}: {name}")
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 70 and node.name != "get_config":
                long.append(f"{path}: {node.name}")
    assert vague == [] and long == []


def test_the_config_offers_the_tiers_that_there_are():
    assert set(CHOICES["executor.allow_tier"]) == {tier.name.lower() for tier in Tier}


def test_every_public_name_says_what_it_is():
    missing = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in [tree, *tree.body]:
            public = isinstance(node, ast.Module) or (
                isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            )
            if public and not ast.get_docstring(node):
                missing.append(f"{path.relative_to(REPOSITORY)}: {getattr(node, 'name', 'the module')}")
    assert not missing
