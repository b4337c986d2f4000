"""What an update's memory is counted to be, and the remat policy that "auto" comes to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from jax.sharding import Mesh

from azr_jax import devices
from azr_jax.config import from_mapping
from azr_jax.learner import remat
from azr_jax.model.sizes import PUBLISHED
from configs import racket

GIB = 2**30
QWEN_3B, QWEN_7B = PUBLISHED["Qwen2.5-Coder-3B"], PUBLISHED["Qwen2.5-Coder-7B"]
CONFIG = from_mapping(racket.get_config().to_dict())


class Device:
    """What is asked of a mesh's device."""

    def __init__(self, platform: str) -> None:
        self.platform = platform


class OneMesh:
    """A mesh of `fsdp` devices that are not there."""

    def __init__(self, platform: str, fsdp: int = 1) -> None:
        self.devices = np.array([Device(platform)] * fsdp, dtype=object).reshape(1, fsdp, 1)
        self.shape = {"data": 1, "fsdp": fsdp, "tensor": 1}


def choose(model, gib: float, mesh, policy: str = "auto", **learner) -> str:
    settings = dataclasses.replace(CONFIG.learner, **learner)
    asked = dataclasses.replace(CONFIG.model, remat=policy)
    return remat.choose(model, settings, asked, mesh, int(gib * GIB))


@pytest.mark.parametrize(
    ("policy", "compiled"), [("full", 50.59), ("attention", 57.68), ("gate", 68.61), ("dots", 76.28)]
)
def test_the_count_is_what_the_gpus_compiler_says_within_two_percent(policy, compiled):
    """Compiled for an H100 by azr_jax.plan: the 3B, one row of 14,336 tokens; GiB with the optimizer's moments."""
    counted = sum(remat.update_bytes(QWEN_3B, CONFIG.learner, policy, rows=1).values()) / GIB
    assert counted == pytest.approx(compiled, rel=0.02)


def test_auto_computes_least_again_of_what_fits():
    gpu = OneMesh("gpu")
    assert [choose(QWEN_3B, gib, gpu) for gib in (75.1, 70.0, 55.0, 20.0)] == ["gate", "attention", "full", "full"]
    # A reference policy lies there too.
    assert choose(QWEN_3B, 75.1, gpu, kl_coef=0.01) == "attention"
    # Of eight GPUs each holds an eighth of the state, and a row.
    assert choose(QWEN_7B, 75.1, OneMesh("cuda", fsdp=8)) == "gate"
    assert [choose(QWEN_3B, gib, OneMesh("cpu")) for gib in (75.1, 15.75)] == ["gate", "full"]


def test_auto_is_full_where_memory_cannot_be_counted_and_a_named_policy_stays():
    assert choose(QWEN_3B, 15.75, OneMesh("tpu")) == "full"
    assert choose(QWEN_3B, 1.0, OneMesh("gpu"), "dots") == "dots"


def test_a_policy_that_is_not_counted_is_an_error():
    with pytest.raises(ValueError, match="remat='everything'"):
        remat.update_bytes(QWEN_3B, CONFIG.learner, "everything", rows=1)


def test_the_device_says_how_much_it_has_where_nobody_else_does(monkeypatch):
    class Card(Device):
        def memory_stats(self) -> dict[str, int]:
            return {"bytes_limit": 60 * GIB}

    monkeypatch.setattr(remat.jax, "local_devices", lambda: [Card("gpu")])
    mesh = OneMesh("gpu")
    assert isinstance(mesh, OneMesh) and not isinstance(mesh, Mesh)
    assert remat.choose(QWEN_3B, CONFIG.learner, CONFIG.model, mesh) == "full"  # pyright: ignore[reportArgumentType]


def test_cpus_share_half_of_the_machines_memory(monkeypatch):
    pages = {"SC_PHYS_PAGES": 150 * GIB // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(devices.os, "sysconf", pages.__getitem__)

    def chosen(count: int) -> str:
        monkeypatch.setattr(remat.jax, "local_devices", lambda: [Device("cpu")] * count)
        return remat.choose(QWEN_3B, CONFIG.learner, CONFIG.model, OneMesh("cpu"))  # pyright: ignore[reportArgumentType]

    assert [chosen(1), chosen(8)] == ["gate", "full"]
