"""The wheel, installed into an empty folder and used from another one: commands, configurations, a run of two steps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, SMALL, rows

from azr_jax.__main__ import COMMANDS

PACKAGES = ("azr_jax", "configs", "executors")


def tracked_files(*names: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *names],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("needs the git checkout, to know which files are the project's")
    return [name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).exists()]


class Installed:
    """A folder that holds the installed wheel, and a working directory that holds nothing."""

    def __init__(self, folder: Path) -> None:
        self.wheel = folder / "wheel"
        self.target = folder / "target"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        source = folder / "source"
        for name in tracked_files(*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, source / name)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        build = [
            "wheel",
            "--no-build-isolation",
            "--no-deps",
            "--no-index",
            "--wheel-dir",
            str(self.wheel),
            str(source),
        ]
        subprocess.run([*pip, *build], check=True)
        install = ["install", "--no-deps", "--no-index", "--target", str(self.target), *map(str, self.wheel.glob("*"))]
        subprocess.run([*pip, *install], check=True)
        self.environment = os.environ | {
            "PYTHONPATH": str(self.target),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "JAX_PLATFORMS": "cpu",
        }
        self.environment.pop("JAX_COMPILATION_CACHE_DIR", None)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.elsewhere, env=self.environment, capture_output=True, text=True, timeout=900, check=False
        )

    def azr_jax(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.target / "bin" / "azr-jax"), *arguments)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    return Installed(tmp_path_factory.mktemp("package"))


def test_the_wheel_has_every_file_of_its_packages(installed):
    (wheel,) = installed.wheel.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert set(tracked_files(*PACKAGES)) <= packed
    assert {name.split("/")[0] for name in packed if ".dist-info" not in name} == set(PACKAGES)


def test_the_first_command_lists_the_others(installed):
    done = installed.azr_jax("--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert installed.azr_jax("--version").stdout.startswith("azr_jax ")


def test_a_mistyped_command_is_one_line(installed):
    done = installed.azr_jax("statsu")
    assert done.returncode == 2
    assert done.stderr == "error: unknown command 'statsu': did you mean status?\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_quick_and_shows_defaults(installed, name):
    before = os.times()
    done = installed.run(sys.executable, "-X", "importtime", "-m", "azr_jax", name, "--help")
    after = os.times()
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"jax", "torch", "transformers", "matplotlib"}
    # Of the processor, not of the clock: other tests run beside this one.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2.0
    assert "default" in done.stdout or name in ("status", "doctor", "executors")


# Commands and what stands in the help of each: a flag's default.
SUBCOMMANDS = {
    ("executors", "run"): "(default: namespaces)",
    ("executors", "batch"): "(default: 512)",
    ("executors", "speed"): "(default: 4.0)",
    ("azr_jax.evaluation", "run"): "(default: completion)",
    ("azr_jax.evaluation", "check"): "(default: one per core)",
    ("azr_jax.checkpoint", "export"): "(default: the newest)",
}


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=" ".join)
def test_help_of_subcommands_shows_defaults(command):
    done = subprocess.run([sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert SUBCOMMANDS[command] in " ".join(done.stdout.split())


@pytest.mark.ci
def test_two_steps_of_the_demo_from_another_folder(installed):
    settings = [f"--config.{key}={value}" for key, value in SMALL.items()]
    done = installed.azr_jax("train", "--config=tiny", "--config.model.path=azr-tiny", *settings, "--config.steps=2")
    assert done.returncode == 0, done.stdout + done.stderr
    workdir = installed.elsewhere / "runs" / "tiny"
    assert [row["step"] for row in rows(workdir / "metrics.jsonl")] == [1, 2]
    assert (workdir / "report.html").exists()
    assert installed.azr_jax("status", "--finished", "runs/tiny").returncode == 0
    exported = installed.azr_jax("export", "--workdir=runs/tiny", "--out=exported")
    assert exported.returncode == 0, exported.stderr
    assert (installed.elsewhere / "exported" / "model.safetensors").exists()


@pytest.mark.ci
def test_compiled_parts_go_into_the_user_s_cache(installed):
    before = sorted(installed.target.rglob("*"))
    done = installed.azr_jax("executors", "build")
    assert done.returncode == 0, done.stderr
    assert sorted(installed.target.rglob("*")) == before
