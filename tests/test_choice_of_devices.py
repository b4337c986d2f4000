"""A large model on a machine whose accelerator jax does not see; the tensor axes that are taken by default."""

from types import SimpleNamespace

import jax
import pytest

from azr_jax import devices, engine
from azr_jax.config import from_mapping
from azr_jax.model.sharding import quickest_sampler_tensor, quickest_tensor, sampler_tensors
from azr_jax.model.sizes import PUBLISHED
from configs import base

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
    ("file", "named", "support"),
    [
        ("nvidia0", "an NVIDIA GPU", r"\[cuda13\]"),
        ("dxg", "an NVIDIA GPU", r"\[cuda13\]"),
        ("accel0", "a TPU", r"\[tpu\]"),
        ("vfio/0", "a TPU", r"\[tpu\]"),
        ("kfd", "an AMD GPU", "ROCm"),
    ],
)
def test_a_large_model_does_not_run_on_the_cpu_beside_an_accelerator(machine, monkeypatch, file, named, support):
    machine(file)
    with pytest.raises(ValueError, match=rf"3\.1 billion parameters.*{named}.*{file}.*{support}.*JAX_PLATFORMS=cpu"):
        devices.check_accelerator(QWEN_3B.parameters)
    devices.check_accelerator(1_000_000)  # a small model may
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    devices.check_accelerator(QWEN_3B.parameters)  # and who asks for the CPU


def test_a_machine_without_accelerator_runs_what_it_can(machine):
    machine("null", "nvidiactl")
    devices.check_accelerator(QWEN_3B.parameters)


@pytest.mark.parametrize(
    ("kind", "count", "tensor", "served", "of_1_5b"),
    [
        ("TPU v5 lite", 16, 2, 4, 4),
        ("TPU v6 lite", 8, 2, 4, 2),
        ("TPU v5 lite", 1, 1, 1, 1),
        ("TPU v5 lite", 2, 2, 2, 2),
        ("TPU v6 lite", 4, 2, 2, 2),
        ("TPU v5", 4, 2, 2, 2),
        ("TPU v4", 16, 2, 4, 4),
        ("TPU7x", 8, 2, 4, 2),
        ("NVIDIA H100", 8, 1, 1, 1),
    ],
)
def test_the_default_tensor_axes(kind, count, tensor, served, of_1_5b):
    devices = [SimpleNamespace(device_kind=kind)] * count
    for model, expected in ((QWEN_3B, served), (PUBLISHED["Qwen2.5-Coder-1.5B"], of_1_5b)):
        assert quickest_tensor(model, devices) == tensor
        assert quickest_sampler_tensor(model, tensor, devices) == expected


def test_the_sampler_has_no_axis_that_its_heads_do_not_divide():
    devices = [SimpleNamespace(device_kind="TPU v5 lite")] * 8
    smallest = PUBLISHED["Qwen2.5-Coder-0.5B"]  # 14 heads
    assert quickest_sampler_tensor(smallest, 2, devices) == 2
    assert sampler_tensors(QWEN_3B, 16) == [1, 2, 4, 8, 16]
    config = base.get_config()
    config.update_from_flattened_dict({"mesh.sampler_tensor": 3})
    with pytest.raises(
        ValueError, match=r"mesh.sampler_tensor=3 does not split .* over 1 devices; choose one of \[1\]"
    ):
        engine.describe_engine(from_mapping(config.to_dict()), QWEN_3B)


def test_the_default_mesh_of_the_cpu_is_as_before():
    assert quickest_tensor(QWEN_3B) == 1 and jax.default_backend() == "cpu"
