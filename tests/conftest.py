"""Runs of the embedded model that the tests of the loop share: the real command, and the same parts in this process."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib.util
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from loadfile import OPENED

REPOSITORY = Path(__file__).parents[1]
# The arrays of the tests are tiny and their programs many, so compiling is most of the time of a test of the device
# side: these take it from 9.4 s to 1.9 s for two updates. XLA_FLAGS in the environment, empty too, comes first; what
# depends on the code that users run (the command, below, and what compares bits) has the compiler's defaults.
# On a loaded machine a device may wait for the others for longer than XLA allows, which would end the process.
PATIENT = (
    "--xla_cpu_collective_call_terminate_timeout_seconds=1200",
    "--xla_cpu_collective_timeout_seconds=1200",
)
QUICK_COMPILE = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")


# Files of tests that take 20 s and more, the longest first.
LONGEST = (
    "test_smollm2_runs.py",
    "test_smollm2.py",
    "test_compiled_for_tpu.py",
    "test_main.py",
    *OPENED,
    "test_conformance.py",
    "test_data_not_code.py",
    "test_attacks.py",
    "test_update.py",
    "test_tiers.py",
    "test_julia.py",
    "test_transformer.py",
    "test_tokenizer.py",
    "test_many_processes.py",
    "test_verdicts.py",
    "test_engine.py",
    "test_making.py",
    "test_cli.py",
    "test_estimation.py",
    "test_study.py",
    "test_inputs.py",
    "test_pool.py",
    "test_cudnn_attention.py",
    "test_sharding.py",
    "test_endings.py",
    "test_cheats.py",
    "test_checkpoint.py",
    "test_bad_input.py",
    "test_sampling.py",
    "test_simulated_sampler.py",
    "test_speed_commands.py",
)


# Languages with values whose interpreters are installed by name (Fortran has whole programs alone); CI runs their tests
# and `make test` does not.
BY_NAME = ("perl", "php", "ruby", "scheme")


def _known_to_xla(flag: str) -> bool:
    """XLA ends the process at a flag that it does not know; its library names those that it does."""
    package = importlib.util.find_spec("jaxlib")
    assert package is not None and package.origin is not None
    name = flag.removeprefix("--").partition("=")[0].encode()
    for library in Path(package.origin).parent.glob("*.so*"):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(name + b"\0") >= 0:
                return True
    return False


# Not the compiled programs of whoever runs the tests, but those of this run: its commands share them.
_COMPILED = "AZR_JAX_TESTS_COMPILED"
if _COMPILED not in os.environ:  # the process that starts the others
    os.environ[_COMPILED] = tempfile.mkdtemp(prefix="azr_jax-tests-")
    atexit.register(shutil.rmtree, os.environ[_COMPILED], ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ[_COMPILED]
os.environ.setdefault("XLA_FLAGS", " ".join(filter(_known_to_xla, QUICK_COMPILE)))
DEFAULT_COMPILE = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if flag not in QUICK_COMPILE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--devices", type=int, default=0, help="force this many CPU devices on the tests' own process")


def pytest_configure(config: pytest.Config) -> None:
    # A shell without job control starts what it runs in the background with Ctrl-C ignored, and its children as well.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if count := config.getoption("--devices"):
        os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={count}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from loadfile import Scheduling

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest go first (with --no-loadscope-reorder), or the other workers are done before the last is half-way.
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def ci_in(values: Iterable[str], *long: str) -> list[Any]:
    """Parameters of a test, of which `long` take so long that CI runs them and `make test` does not."""
    return [pytest.param(value, marks=pytest.mark.ci) if value in long else pytest.param(value) for value in values]


def run_script(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A shell script's end, both of its streams in `stdout`."""
    return subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def devices_flags(count: int) -> list[str]:
    """XLA's flags for `count` CPU devices."""
    return [f"--xla_force_host_platform_device_count={count}", *filter(_known_to_xla, PATIENT)]


def on_devices(count: int) -> dict[str, str]:
    """The environment of a process with `count` CPU devices that imports the project."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": " ".join([os.environ["XLA_FLAGS"], *devices_flags(count)]),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")]),
    }


def smollm2_environment(devices: int) -> dict[str, str]:
    """That of the real command, with the compiler's defaults: its programs run for longer than they compile.

    XLA's thread pool for CPU devices has as many threads as there are cores or devices (NPROC says otherwise). All
    eight may wait in a collective, and a large matrix product of another device then has none left to run on.
    """
    own = {"NPROC": "32", "PJRT_NPROC": "32"} if devices > 1 else {}
    return on_devices(devices) | own | {"XLA_FLAGS": " ".join([DEFAULT_COMPILE, *devices_flags(devices)])}


# Small enough for seconds a step; the language is the one that every machine has.
SMALL = {
    "languages": ("python",),
    "selfplay.seed_triplets": 5,
    "selfplay.seed_problems": 3,
    "selfplay.seed_rounds": 100,
    "selfplay.batch_per_task": 3,
    "selfplay.estimate_samples": 2,
    "selfplay.references": 1,
    "sampler.max_response_tokens": 96,
    "sampler.slots": 16,
    "sampler.prefill_tokens": 1024,
    "learner.rows_per_microbatch": 2,
    "executor.wall_s": 5.0,
    "executor.cpu_s": 5.0,
    "evaluation.heldout": "",
    "checkpoint.every": 2,
    "metrics.tensorboard": False,
}


def small_config(**changes):
    """configs/tiny.py with SMALL and `changes` (`section__key=value`), as a Config."""
    from azr_jax.config import from_mapping
    from configs import tiny

    config = tiny.get_config()
    config.update_from_flattened_dict(SMALL | {key.replace("__", "."): value for key, value in changes.items()})
    return from_mapping(config.to_dict())


@dataclasses.dataclass(frozen=True)
class Command:
    """`python -m azr_jax.main` with the small settings; compiled programs are kept from one run to the next."""

    cache: Path

    def argv(self, workdir: Path, *arguments: str, **changes) -> list[str]:
        settings = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
        flags = [f"--config.{key}={value}" for key, value in settings.items()]
        return [
            sys.executable,
            "-m",
            "azr_jax.main",
            "--config=configs/tiny.py",
            f"--workdir={workdir}",
            *flags,
            *arguments,
        ]

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "XLA_FLAGS": DEFAULT_COMPILE,
            "JAX_COMPILATION_CACHE_DIR": str(self.cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def start(self, workdir: Path, *arguments: str, **changes) -> subprocess.Popen:
        """The command in a session of its own, as in a terminal, its output in one pipe."""
        return subprocess.Popen(
            self.argv(workdir, *arguments, **changes),
            cwd=REPOSITORY,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, workdir: Path, *arguments: str, **changes) -> tuple[int, str]:
        """(exit status, output) of the command."""
        with self.start(workdir, *arguments, **changes) as process:
            output = process.communicate(timeout=600)[0]
        return process.returncode, output


@pytest.fixture(scope="session")
def command(tmp_path_factory) -> Command:
    return Command(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def opened(tmp_path_factory):
    """An OpenRun of the small settings: engine, sampler, learner and a pool of real Python workers."""
    from azr_jax.run.opened import open_run

    with open_run(small_config(), str(tmp_path_factory.mktemp("opened"))) as run:
        yield run


def rows(file: Path) -> list[dict]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text().splitlines()]


# Fixtures that several modules of one folder share are here too: a second conftest.py in a folder that is no package
# would take this one's name.


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The workdir of a finished run whose texts are hostile, its report written once: that takes seconds."""
    from run_folders import EVIL, run_folder

    from azr_jax.report import write

    workdir = run_folder(tmp_path_factory.mktemp("runs") / "tiny <b>bold", text=EVIL)
    write([workdir], workdir / "report.html")
    return workdir


# Machines that run tests are loaded; Julia's own test sets take seconds to fail.
PATIENT_S = {"rkt": 30.0, "js": 15.0, "jl": 60.0, "py": 0.0}


@pytest.fixture(scope="session")
def sound_judge():
    """From a language's suffix to a sound judge of it, which stays open: a warm interpreter takes seconds to start."""
    from azr_jax.evaluation.judging.judge import CompletionJudge

    with contextlib.ExitStack() as stack:
        opened = {}

        def judge(suffix):
            if suffix not in opened:
                opened[suffix] = stack.enter_context(CompletionJudge(suffix, timeout_s=PATIENT_S[suffix]))
            return opened[suffix]

        yield judge


@pytest.fixture(scope="session")
def smollm2_directory():
    """The converted model, made once and kept in the user's cache; without its packages the tests are skipped."""
    from azr_jax.model import smollm2

    path = smollm2.default_directory()
    if not (path / "config.json").is_file():
        if missing := smollm2.missing_packages():
            pytest.skip(f"{smollm2.NAME} is not here: {', '.join(missing)} not installed (make setup-smollm2)")
        smollm2.convert(path)
    return path
