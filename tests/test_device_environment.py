"""What a command tells jax before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from azr_jax import devices

PROGRAM = """
from azr_jax import devices
devices.prepare()
import jax
jax.jit(lambda x: x @ x)(jax.numpy.ones((64, 64))).block_until_ready()
"""
SET = ("JAX_COMPILATION_CACHE_DIR", "JAX_PLATFORMS", "XLA_PYTHON_CLIENT_MEM_FRACTION", "TF_CPP_MIN_LOG_LEVEL")


def start(tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name not in SET}
    own |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | environment
    return subprocess.run([sys.executable, "-c", PROGRAM], env=own, capture_output=True, text=True, check=True)


@pytest.mark.skipif(devices.has_accelerator(), reason="is about machines without an accelerator")
def test_compiled_programs_are_found_again_and_libtpu_is_silent(tmp_path):
    kept = tmp_path / "azr_jax" / "compiled"
    assert (start(tmp_path).stderr, start(tmp_path).stderr) == ("", "")
    (folder,) = kept.iterdir()
    assert any(folder.glob("*-cache"))


def test_no_programs_are_kept_where_the_environment_says_so(tmp_path):
    start(tmp_path, JAX_COMPILATION_CACHE_DIR="", JAX_PLATFORMS="cpu")
    assert not any(tmp_path.iterdir())


def test_what_the_user_has_set_stays(monkeypatch):
    for name in SET:
        monkeypatch.setenv(name, "mine")
    devices.prepare()
    assert all(os.environ[name] == "mine" for name in SET)


def test_each_kind_of_processor_has_its_own_programs(tmp_path, monkeypatch):
    folders = set()
    for text in ("model name: a\nflags: sse\n", "model name: a\nflags: sse avx\n"):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(devices, "_CPUINFO", tmp_path / "cpuinfo")
        folders.add(devices.compiled_programs())
    assert len(folders) == 2


@pytest.mark.parametrize("name", ["accel0", "vfio/0", "nvidiactl", "kfd"])
def test_accelerators_are_known_by_their_device_files(tmp_path, name):
    assert not devices.has_accelerator(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert devices.has_accelerator(tmp_path)
    assert devices.has_tpu(tmp_path) == (name in ("accel0", "vfio/0"))
