"""How the sampler works on each kind of device. Only `draw` changes what is sampled, beyond rounding."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from azr_jax.model import attention, paged_attention
from azr_jax.model.configuration import ModelConfig

# A CPU's model with a larger vocabulary is a pretrained one. There random numbers for every token would take a fifth of
# a decode step (SmolLM2's 49,152), and its weights and caches come from memory: their order counts.
_SMALL_VOCABULARY = 16384


@dataclasses.dataclass(frozen=True, slots=True)
class Tuning:
    """Choices that differ between devices.

    Attributes:
      implementation: of attention over the cache (attention.attend_cache).
      draw: a key of sampling.DRAWS.
      packs_prefill: prompts of any length in one row, with segment ids; otherwise a row each, by length.
      overlaps: a chunk is sent before the host has seen the last one's tokens. Rows that have ended (the device
        knows it) then keep their slots for one more chunk.
      fixed_steps: a chunk always runs to its end. A loop that may end early asks the host after each step on a GPU.
      unstacks: each layer's served weights have separate buffers (serving.unstacked).
      tiers: slots of several lengths where memory chooses their number.
      reads_whole: a decode step reads slots to their end, used or not (memory.most_slots).
      slices_inside: stacked weights are sliced in each step: before the loop, the TPU compiler would copy them all.
      layouts: of served weights by name, most major axis first; others have jax's default. With few rows the TPU
        compiler needs the queries' matrices one head after the other, or else copies all of them for each chunk.
      length_multiple: slots have a multiple of this many positions.
    """

    implementation: str = "xla"
    draw: str = "gumbel"
    packs_prefill: bool = False
    overlaps: bool = False
    fixed_steps: bool = False
    unstacks: bool = False
    tiers: bool = False
    reads_whole: bool = False
    slices_inside: bool = False
    layouts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    length_multiple: int = 1


def choose(mesh: Mesh | None, compute_dtype: Any, config: ModelConfig) -> Tuning:
    """The tuning of a model for the mesh's devices, or the default device."""
    platform = mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()
    bfloat16 = jnp.dtype(compute_dtype) == jnp.bfloat16
    if platform == "tpu" and bfloat16 and paged_attention.supports(config.head_dim):
        return Tuning(
            implementation="paged",
            tiers=True,
            overlaps=True,
            slices_inside=True,
            layouts=(("query_LDNH", (0, 2, 1, 3)),),
            length_multiple=paged_attention.PAGE,
        )
    if platform == "tpu":
        return Tuning(reads_whole=True)
    if platform not in ("gpu", "cuda"):
        large = platform == "cpu" and config.vocab_size > _SMALL_VOCABULARY
        return Tuning(implementation="xla_keys_last", draw="blocks", unstacks=True) if large else Tuning()
    parts = 1 if mesh is None else mesh.size
    cudnn = bfloat16 and attention.choose("auto", mesh) == "cudnn"
    return Tuning(
        implementation="cudnn" if cudnn else "xla",
        draw="blocks",
        packs_prefill=parts == 1,
        overlaps=True,
        fixed_steps=True,
        unstacks=True,
        tiers=parts == 1,
    )
