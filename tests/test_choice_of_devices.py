"""A large model on a machine whose accelerator jax does not see; the tensor axis that is taken by default."""

from types import SimpleNamespace

import jax
import pytest

from azr_jax import devices
from azr_jax.model.sharding import quickest_tensor
from azr_jax.model.sizes import PUBLISHED

QWEN_3B = PUBLISHED["Qwen2.5-Coder-3B"]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with these device files, on which jax sees the CPU alone."""

    def with_files(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        monkeypatch.setattr(devices, "Path", lambda _: tmp_path)
        monkeypatch.setattr(devices, "platform", lambda: "cpu")
        monkeypatch.delenv("JAX_PLATFORMS", raising=False)

    return with_files


@pytest.mark.parametrize(
    ("file", "named", "extra"),
    [("nvidia0", "an NVIDIA GPU", "cuda13"), ("accel0", "a TPU", "tpu"), ("vfio/0", "a TPU", "tpu")],
)
def test_a_large_model_does_not_run_on_the_cpu_beside_an_accelerator(machine, monkeypatch, file, named, extra):
    machine(file)
    with pytest.raises(ValueError, match=rf"3\.1 billion parameters.*{named}.*{file}.*\[{extra}\].*JAX_PLATFORMS=cpu"):
        devices.check_accelerator(QWEN_3B.parameters)
    devices.check_accelerator(1_000_000)  # a small model may
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    devices.check_accelerator(QWEN_3B.parameters)  # and who asks for the CPU


def test_a_machine_without_accelerator_runs_what_it_can(machine):
    machine("null", "nvidiactl")
    devices.check_accelerator(QWEN_3B.parameters)


@pytest.mark.parametrize(
    ("kind", "count", "tensor"),
    [("TPU v5 lite", 16, 2), ("TPU v6 lite", 8, 2), ("TPU v5 lite", 1, 1), ("TPU v5", 4, 1), ("NVIDIA H100", 8, 1)],
)
def test_the_default_tensor_axis(kind, count, tensor):
    assert quickest_tensor(QWEN_3B, [SimpleNamespace(device_kind=kind)] * count) == tensor


def test_the_default_mesh_of_the_cpu_is_as_before():
    assert quickest_tensor(QWEN_3B) == 1 and jax.default_backend() == "cpu"
