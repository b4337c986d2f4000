"""How many slots the memory holds, from the model's sizes and what the device has free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from azr_jax.config import SamplerSettings
from azr_jax.devices import half_of_memory
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import least_of_hosts
from azr_jax.sampler import buckets

ACCELERATOR_SHARE = 0.9  # of what is free when the session starts; the rest is for temporaries and fragmentation
TPU_SHARE = 0.98  # on TPUs the programs' temporaries are small, and known by compiling them (azr_jax.plan)
FEWEST_SLOTS = 64  # if fewer fit with the learner's state, a decode step reads more weights than cache
HOST_SHARE = 0.25  # of the machine's available memory, when the devices are its CPU; executors need the rest
# For each part that rows are split over: a step with more is bound by arithmetic, and with slots of one length it
# computes all of them to the end of a batch. Of several lengths the shorter ones are left out when they are empty.
MOST_SLOTS, MOST_TIERED_SLOTS = 256, 2048
WHOLE_SHARE = 4  # the caches' bytes for each byte of weights, where a decode step reads whole slots (see most_slots)
CPU_SLOTS = 64  # on CPUs more rows at a time gain nothing: the step is bound by arithmetic, not by reading weights
TIERS, TIER_RATIO, SHORTEST_TIER = 3, 2.75, 1536  # each tier adds a launch of attention in every layer
_TIER_MULTIPLE = 128
_LOGIT_BUFFERS = 4  # float32 [slots, V] arrays alive while sampling: logits, scaled, noise, their sum


def slot_bytes(config: ModelConfig, length: int, dtype: Any) -> int:
    """Bytes one slot takes on all devices together: its keys and values, and its logits while sampling."""
    cache = 2 * config.layers * config.kv_heads * config.head_dim * length * jnp.dtype(dtype).itemsize
    return cache + _LOGIT_BUFFERS * 4 * config.vocab_size


def most_slots(config: ModelConfig, length: int, dtype: Any, reads_whole: bool) -> int:
    """Slots of one length for a part that rows are split over, beyond which a decode step gains nothing.

    With `reads_whole` a step reads every slot to its end, used or not. Then more slots than WHOLE_SHARE allows cost the
    end of a batch, when few rows are left, more than they save before (simulated for the 0.5B: docs/results/memory.md).
    """
    if not reads_whole:
        return MOST_SLOTS
    weights = config.parameters * jnp.dtype(dtype).itemsize
    return min(MOST_SLOTS, max(8, WHOLE_SHARE * weights // slot_bytes(config, length, dtype)))


def prefill_bytes(config: ModelConfig, tokens: int, dtype: Any) -> int:
    """Bytes of a prefill of `tokens`: keys and values twice (as computed, and waiting for slots), activations."""
    keys = 2 * 2 * config.layers * config.kv_heads * config.head_dim
    activations = 6 * config.embed_dim + 3 * config.ffn_dim + 4 * config.heads * config.head_dim
    return tokens * (keys + activations) * jnp.dtype(dtype).itemsize


def free_bytes(devices: np.ndarray) -> int:
    """Bytes for the sampler on all `devices` together (those of a mesh, or one).

    Raises:
      ValueError: an accelerator that does not report its memory.
    """
    flat: list[Any] = list(devices.flat)
    if flat[0].platform == "cpu":
        # Of one host, even if a mesh has the CPUs of several: these may be the same machine.
        return int(_host_bytes() * HOST_SHARE)
    free = []
    for device in _own(devices):
        stats = device.memory_stats()
        if not stats or "bytes_limit" not in stats:
            raise ValueError(f"sampler.slots=0: {device} does not report its memory; set sampler.slots to a number")
        free.append(stats["bytes_limit"] - stats["bytes_in_use"])
    return int(min(free) * len(flat) * (TPU_SHARE if flat[0].platform == "tpu" else ACCELERATOR_SHARE))


def slots_in(
    config: ModelConfig, settings: SamplerSettings, length: int, dtype: Any, free: int, parts: int
) -> tuple[int, int]:
    """(slots of `length` positions that fit with one prefill, bytes for them) in `free` bytes of all devices.

    `parts` are the groups of devices that rows are split over: a prefill has a row for each of them at least.
    """
    free = _beside_prefill(config, settings, dtype, free, parts)
    return max(0, free) // slot_bytes(config, length, dtype), free


def _beside_prefill(config: ModelConfig, settings: SamplerSettings, dtype: Any, free: int, parts: int) -> int:
    """`free` bytes less those of the largest prefill."""
    rows, tokens = buckets.largest_prefill(settings.max_prompt_tokens, settings.prefill_tokens, parts)
    return free - prefill_bytes(config, max(settings.prefill_tokens, rows * tokens), dtype)


def state_must_leave(settings: SamplerSettings, beside: int, alone: int) -> bool:
    """Whether the learner's state must leave the devices to sample: `beside` slots fit with it, `alone` without."""
    return alone > beside and beside < (settings.slots or FEWEST_SLOTS)


def choose_slots(
    config: ModelConfig,
    settings: SamplerSettings,
    length: int,
    dtype: Any,
    devices: np.ndarray,
    parts: int = 1,
    reads_whole: bool = False,
) -> int:
    """`settings.slots`, or as many slots of `length` positions as fit with one prefill, at most `most_slots` x `parts`.

    `parts` are the groups of devices that rows are split over. The caller rounds to a multiple of `parts`.

    Raises:
      ValueError: not one slot fits for each of the `parts`, or `settings.slots` do not.
    """
    on_cpu = devices.flat[0].platform == "cpu"
    if settings.slots and not on_cpu and not _own(devices)[0].memory_stats():
        return settings.slots
    fit, free = slots_in(config, settings, length, dtype, free_bytes(devices), parts)
    if fit < max(parts, settings.slots):
        raise _too_small(config, settings, length, dtype, free, parts)
    most = CPU_SLOTS if on_cpu else most_slots(config, length, dtype, reads_whole) * parts
    slots = settings.slots or min(fit, most)
    _log(config, settings, ((slots, length),), dtype, free)
    return slots


def choose_tiers(
    config: ModelConfig,
    settings: SamplerSettings,
    length: int,
    dtype: Any,
    devices: np.ndarray,
    parts: int = 1,
    multiple: int = 1,
) -> tuple[tuple[int, int], ...]:
    """`tiers_in` the free memory of the devices, those of the host that has the least.

    Raises:
      ValueError: not one slot of `length` positions fits for each of the `parts`.
    """
    free = least_of_hosts(free_bytes(devices) >> 20) << 20
    tiers = tiers_in(config, settings, length, dtype, free, parts, multiple)
    _log(config, settings, tiers, dtype, _beside_prefill(config, settings, dtype, free, parts))
    return tiers


def tiers_in(
    config: ModelConfig,
    settings: SamplerSettings,
    length: int,
    dtype: Any,
    free: int,
    parts: int = 1,
    multiple: int = 1,
) -> tuple[tuple[int, int], ...]:
    """(slots, positions) of up to TIERS caches, shortest first, that share `free` bytes less one prefill evenly; at
    most MOST_TIERED_SLOTS for each of the `parts` that rows are split over, MOST_SLOTS of one length.

    The last holds `length` positions; the others are shorter by TIER_RATIO each, down to SHORTEST_TIER, and a multiple
    of `multiple`. A row moves up when it outgrows its slot, or waits until a longer one is free. Most responses are
    far shorter than the longest allowed: in 25 GiB fit 51 of the 3B's slots of 14,240 positions, or 190 slots of
    three tiers.

    Raises:
      ValueError: not one slot of `length` positions fits for each of the `parts`.
    """
    free = _beside_prefill(config, settings, dtype, free, parts)
    lengths = [length]
    while len(lengths) < TIERS and (shorter := int(lengths[0] / TIER_RATIO)) >= SHORTEST_TIER:
        lengths.insert(0, shorter + -shorter % max(_TIER_MULTIPLE, multiple))

    def slots_of(share: int, positions: int) -> int:
        fitting = max(0, share) // (parts * slot_bytes(config, positions, dtype))
        return min(fitting, MOST_TIERED_SLOTS // len(lengths) if len(lengths) > 1 else MOST_SLOTS) * parts

    share = free // len(lengths)
    longest = slots_of(share, length)
    if not longest:
        # One full-length slot is the minimum; the shorter tiers share what is left.
        longest = parts if slots_of(free, length) else 0
        if not longest:
            raise _too_small(config, settings, length, dtype, free, parts)
        share = (free - parts * slot_bytes(config, length, dtype)) // max(1, len(lengths) - 1)
    tiers = [(slots_of(share, shorter), shorter) for shorter in lengths[:-1]]
    return (*(tier for tier in tiers if tier[0]), (longest, length))


def _too_small(
    config: ModelConfig, settings: SamplerSettings, length: int, dtype: Any, free: int, parts: int = 1
) -> ValueError:
    slot, prefill = slot_bytes(config, length, dtype), prefill_bytes(config, settings.prefill_tokens, dtype)
    return ValueError(
        f"sampler.slots={settings.slots}: {max(0, free) // slot} slots of {length} tokens fit in the"
        f" {(free + prefill) / 2**30:.2f} GiB available ({slot / 2**20:.1f} MiB per slot, {prefill / 2**30:.2f} GiB for"
        f" one prefill), at least data x fsdp = {parts} are needed; lower sampler.slots, sampler.max_response_tokens or"
        " sampler.prefill_tokens, or use more devices"
    )


def _log(
    config: ModelConfig, settings: SamplerSettings, tiers: tuple[tuple[int, int], ...], dtype: Any, free: int
) -> None:
    logging.info(
        "sampler: %s, %.2f GiB of %.2f GiB beside a prefill of %d tokens",
        " and ".join(f"{slots} slots of {length} tokens" for slots, length in tiers),
        sum(slots * slot_bytes(config, length, dtype) for slots, length in tiers) / 2**30,
        free / 2**30,
        settings.prefill_tokens,
    )


def fits_twice(config: ModelConfig, slots: int, length: int, dtype: Any, devices: np.ndarray) -> bool:
    """Whether two caches of this size fit, so that rows in flight can move to a cache of another size."""
    return devices.flat[0].platform == "cpu" and 2 * slots * slot_bytes(config, length, dtype) <= free_bytes(devices)


def _own(devices: np.ndarray) -> list[Any]:
    """The devices of this host: only the own host can query a device (see least_of_hosts)."""
    return [device for device in devices.flat if device.process_index == jax.process_index()]


def _host_bytes() -> int:
    """Available memory (free and reclaimable page cache) on Linux; half of the physical memory elsewhere."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return half_of_memory()


def one_device() -> np.ndarray:
    """The default device, as a mesh's `devices` array."""
    return np.array([jax.devices()[0]], dtype=object)
