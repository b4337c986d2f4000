"""Buckets and memory: shapes are few and large enough, slots follow from what memory holds."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jax.sharding import AbstractMesh

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import MESH_AXES
from azr_jax.model.sizes import PUBLISHED
from azr_jax.sampler import buckets, memory, tuning
from azr_jax.sampler.engine import Sampler

from .tiny import CONFIG, SETTINGS, make_tokenizer

QWEN_3B = ModelConfig(vocab_size=151936, embed_dim=2048, ffn_dim=11008, layers=36, heads=16, kv_heads=2, head_dim=128)


class _Device:
    """What `memory` reads of an accelerator: no test machine has one."""

    platform = "gpu"
    process_index = 0

    def __init__(self, gib: float | None) -> None:
        self.stats = None if gib is None else {"bytes_limit": int(gib * 2**30), "bytes_in_use": 0}

    def memory_stats(self):
        return self.stats


def devices(*gib: float | None) -> np.ndarray:
    return np.array([_Device(size) for size in gib], dtype=object)


class _OtherHosts(_Device):
    """A device that only another host may ask."""

    process_index = 1

    def memory_stats(self):
        raise RuntimeError("memory_stats is only supported for addressable devices")


def test_length_buckets_hold_and_waste_at_most_a_third():
    sizes = {buckets.length_bucket(tokens, 10_000) for tokens in range(1, 10_001)}
    assert sorted(sizes) == [128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 10000]
    for tokens in range(128, 10_000, 7):
        assert tokens <= buckets.length_bucket(tokens, 10_000) < 1.5 * tokens + 1


def test_slot_buckets_halve_and_stay_multiples_of_the_parts():
    assert [buckets.slot_bucket(rows, 384, 1) for rows in (384, 193, 192, 97, 96, 1)] == [384, 384, 192, 192, 96, 96]
    assert [buckets.slot_bucket(rows, 512, 8) for rows in (512, 257, 256, 65, 64, 1)] == [512, 512, 256, 128, 64, 64]
    assert buckets.slot_bucket(1, 24, 8) == 24
    for most in (1, 2, 3, 5, 64, 384):
        for few in (0, 1, 8):
            sizes = buckets.slot_buckets(most, 1, few)
            assert sizes == sorted(set(sizes), reverse=True) and sizes[0] == most and sizes[-1] > 0, (most, few)
    assert buckets.slot_bucket(1, 384, 128) == 384  # a half is no multiple of the parts


def test_prefill_batches_waste_no_row_unless_the_mesh_asks():
    assert [buckets.batch_size(rows, 64, 1) for rows in (1, 3, 4, 15, 16, 64, 100)] == [1, 1, 4, 4, 16, 64, 64]
    assert buckets.batch_size(50, 9, 1) == 4
    assert [buckets.batch_size(rows, 64, 8) for rows in (1, 8, 31, 32)] == [8, 8, 8, 32]


def test_slots_of_the_3b_on_80_gib_fit_with_one_prefill():
    settings = dataclasses.replace(SETTINGS, slots=0, prefill_tokens=16384)
    slots = memory.choose_slots(QWEN_3B, settings, 8192, "bfloat16", devices(72.0))
    cache = slots * 2 * 36 * 2 * 8192 * 128 * 2
    assert 0.7 * 72 * 2**30 < cache < 0.9 * 72 * 2**30
    assert memory.choose_slots(QWEN_3B, settings, 8192, "bfloat16", devices(72.0, 72.0), parts=2) > 1.9 * slots


def test_much_memory_for_a_small_model_makes_no_more_slots_than_a_step_gains_by():
    settings = dataclasses.replace(SETTINGS, slots=0)
    few = dataclasses.replace(QWEN_3B, layers=1, vocab_size=256)
    assert memory.choose_slots(few, settings, 128, "bfloat16", devices(72.0), parts=2) == 2 * memory.MOST_SLOTS
    for length, most in ((128, memory.MOST_SLOTS), (14240, memory.MOST_TIERED_SLOTS)):
        tiers = memory.choose_tiers(few, settings, length, "bfloat16", devices(720.0))
        assert sum(slots for slots, _ in tiers) in range(most - 2, most + 1)
    asked = dataclasses.replace(settings, slots=3 * memory.MOST_SLOTS)
    assert memory.choose_slots(few, asked, 128, "bfloat16", devices(72.0)) == asked.slots


def test_slots_that_are_read_whole_are_few_for_their_weights():
    """The 0.5B's heads of 64 are too short for the TPU's kernel: a step reads all 8,192 positions of every slot."""
    model, settings = PUBLISHED["Qwen2.5-Coder-0.5B"], dataclasses.replace(SETTINGS, slots=0)
    sizes = (model, settings, 8192, "bfloat16", devices(60.0))
    capped, free = (memory.choose_slots(*sizes, parts=2, reads_whole=whole) for whole in (True, False))
    weights = 2 * model.parameters
    assert free > 300 and capped * memory.slot_bytes(model, 8192, "bfloat16") == pytest.approx(
        2 * 4 * weights, rel=0.05
    )
    asked = dataclasses.replace(settings, slots=300)
    assert memory.choose_slots(model, asked, 8192, "bfloat16", devices(60.0), reads_whole=True) == 300
    tpu = np.array([SimpleNamespace(platform="tpu")], dtype=object).reshape(1, 1, 1)
    mesh: Any = SimpleNamespace(devices=tpu)
    assert tuning.choose(mesh, "bfloat16", model).reads_whole and tuning.choose(mesh, "float32", QWEN_3B).reads_whole
    assert (
        not tuning.choose(mesh, "bfloat16", QWEN_3B).reads_whole
        and not tuning.choose(None, "float32", model).reads_whole
    )


def test_more_slots_may_be_asked_for_than_are_chosen_from_memory(world):
    """A plan refused them, and a run left the learner's state on the devices, as if no more fitted."""
    for asked, fitting in ((0, memory.MOST_SLOTS), (3 * memory.MOST_SLOTS, 4 * memory.MOST_SLOTS)):
        settings = dataclasses.replace(SETTINGS, slots=asked)
        sampler = Sampler(world.graphdef, CONFIG, make_tokenizer(), settings, None)
        slot = memory.slot_bytes(CONFIG, sampler.max_length, sampler.compute_dtype)
        ((slots, _),) = sampler.fitting_tiers((4 * memory.MOST_SLOTS + 100) * slot)
        assert fitting <= slots <= fitting + 100


def test_slots_that_do_not_fit_are_an_error_with_the_sizes():
    settings = dataclasses.replace(SETTINGS, slots=512, prefill_tokens=16384)
    with pytest.raises(ValueError, match=r"sampler\.slots=512: \d+ slots of 14336 tokens fit"):
        memory.choose_slots(QWEN_3B, settings, 14336, "bfloat16", devices(72.0))
    with pytest.raises(ValueError, match=r"sampler\.slots=0: 0 slots"):
        memory.choose_slots(QWEN_3B, dataclasses.replace(settings, slots=0), 14336, "bfloat16", devices(1.0))


def test_fewer_slots_than_groups_of_devices_are_an_error_and_not_more_slots_than_fit():
    settings = dataclasses.replace(SETTINGS, slots=0)
    small = devices(*[0.4] * 8)
    fit = memory.slots_in(QWEN_3B, settings, 14336, "bfloat16", memory.free_bytes(small), parts=8)[0]
    assert 0 < fit < 8
    with pytest.raises(ValueError, match=rf"sampler\.slots=0: {fit} slots .*data x fsdp = 8"):
        memory.choose_slots(QWEN_3B, settings, 14336, "bfloat16", small, parts=8)


def test_slots_that_the_mesh_does_not_divide_are_an_error_at_start(world):
    settings = dataclasses.replace(SETTINGS, slots=6)
    mesh: Any = AbstractMesh((2, 2, 1), MESH_AXES)
    with pytest.raises(ValueError, match=r"sampler\.slots=6 is not a multiple of data x fsdp = 2 x 2; choose 8"):
        Sampler(world.graphdef, CONFIG, make_tokenizer(), settings, mesh)


def test_a_device_that_does_not_tell_its_memory_needs_a_number():
    with pytest.raises(ValueError, match=r"sampler\.slots=0"):
        memory.choose_slots(QWEN_3B, dataclasses.replace(SETTINGS, slots=0), 2048, "bfloat16", devices(None))
    assert memory.choose_slots(QWEN_3B, SETTINGS, 2048, "bfloat16", devices(None)) == SETTINGS.slots


def test_slots_on_a_cpu_are_bounded():
    config = dataclasses.replace(QWEN_3B, layers=1, vocab_size=256)
    settings = dataclasses.replace(SETTINGS, slots=0)
    slots = memory.choose_slots(config, settings, 128, "float32", memory.one_device())
    assert 1 <= slots <= memory.CPU_SLOTS


@pytest.mark.parametrize("slots", [0, 4])
def test_each_host_asks_its_own_devices(slots):
    settings = dataclasses.replace(SETTINGS, slots=slots)
    own, other = _Device(72.0), _OtherHosts(None)
    shared = memory.choose_slots(QWEN_3B, settings, 2048, "bfloat16", np.array([other, own], dtype=object))
    assert shared == memory.choose_slots(QWEN_3B, settings, 2048, "bfloat16", devices(72.0, 72.0))
