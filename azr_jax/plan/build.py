"""The run's own programs, lowered for a slice or GPUs at the config's true shapes. Nothing is allocated or run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.cudnn import fused_attention_stablehlo as fused
from jax.experimental import topologies
from jax.sharding import Mesh

from azr_jax.config import Config, located
from azr_jax.engine import describe_engine
from azr_jax.learner.update import Learner
from azr_jax.model import cudnn_attention, weights
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import batch_sharding, placed, replicated
from azr_jax.model.sizes import PUBLISHED, published
from azr_jax.plan import chips
from azr_jax.sampler import buckets, decoding, programs
from azr_jax.sampler.engine import Sampler


@dataclasses.dataclass(frozen=True)
class Setup:
    """A run's learner and sampler as shapes, on the devices of a topology.

    `state` are shapes with shardings of the learner's TrainState, `served` those of the sampler's weights.
    """

    config: Config
    model: ModelConfig
    mesh: Mesh
    learner: Learner
    sampler: Sampler
    state: Any
    served: Any

    @property
    def serving_mesh(self) -> Mesh:
        """The mesh of the sampler, on the devices of `mesh`."""
        assert self.sampler.mesh is not None
        return self.sampler.mesh

    @property
    def sampler_tensor(self) -> int:
        """Its tensor axis."""
        return int(self.serving_mesh.shape["tensor"])


def model_config(config: Config) -> ModelConfig:
    """The model's sizes: of its directory or, if that is missing, of the published model of that name.

    Raises:
      ValueError: neither.
    """
    path = Path(located(config.model.path)).expanduser()
    if (path / "config.json").is_file():
        return weights.load_config(path)
    if (sizes := published(path.name)) is not None:
        return sizes
    raise ValueError(
        f"model.path={config.model.path!r}: no config.json there, and not a size known by its name: use one of"
        f" {', '.join(PUBLISHED)}, or download the model's config.json"
    )


def topology_devices(topology: str) -> list[Any]:
    """Descriptions of the devices of a slice; call it after `chips.configure()`.

    Raises:
      ValueError: a name that `chips.parse` does not know.
    """
    _, chip, shape = chips.parse(topology)
    if chip.platform == "cuda":
        # jax checks this machine's GPU instead of the compiler's target; all GPUs of the plan have the feature.
        fused.check_compute_capability = lambda capability: float(capability) <= cudnn_attention.LEAST_CAPABILITY
        described = {"target_config": chip.target, "topology": f"1x1x{shape}"}
        return list(topologies.get_topology_desc(platform="cuda", **described).devices)
    options: dict[str, Any] = {"chip_config_name": chip.config_name} if chip.config_name else {}
    if shape == "1x1":
        options["chips_per_host_bounds"] = [1, 1, 1]
    return list(topologies.get_topology_desc(topology, platform="tpu", **options).devices)


def setup(config: Config, model: ModelConfig, devices: list[Any], hbm_gib: float) -> Setup:
    """Learner and sampler of a run's engine, with the config's mesh over these devices of `hbm_gib`.

    The result's `config` has the remat policy that "auto" chooses.

    Raises:
      ValueError: a mesh that does not divide the devices or the model's sizes; lengths beyond the model's positions.
    """
    engine = describe_engine(config, model, devices, int(hbm_gib * 2**30))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, remat=engine.remat))
    learner, sampler = engine.learner(config), engine.sampler(config.sampler)
    state = placed(learner.abstract_state, learner.shardings)
    return Setup(config, model, engine.mesh, learner, sampler, state, sampler.served_shapes(state.params))


def lowered(plan: Setup, tiers: Sequence[tuple[int, int]]) -> Iterator[tuple[str, jax.stages.Lowered]]:
    """(name, program) of reshard, prefill, decode, with drafts speculate, accumulate and apply.

    `tiers` of (slots, positions) decode; the last of them speculates.
    """
    sampler = plan.sampler
    yield "reshard", sampler.reshard_program(plan.state.params).lower(plan.state.params)
    yield "prefill", sampler.programs.prefill.lower(plan.served, *prefill_shapes(plan))
    caches, rows = decode_shapes(plan, tiers)
    yield "decode", sampler.programs.decode.lower(plan.served, _key(plan), caches, rows)
    if sampler.drafts:
        yield "speculate", sampler.programs.speculate.lower(plan.served, _key(plan), caches[-1:], rows)
    yield from plan.learner.lower().items()


def prefill_shapes(plan: Setup) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Arguments of the largest prefill that a session makes, besides the weights."""
    settings = plan.config.sampler
    if plan.sampler.tuning.packs_prefill:
        rows, tokens, prompts = 1, settings.prefill_tokens, cudnn_attention.MOST_SEGMENTS
    else:
        sizes = (settings.max_prompt_tokens, settings.prefill_tokens, plan.sampler.parts)
        rows, tokens = buckets.largest_prefill(*sizes)
        prompts = rows
    by_row, everywhere = batch_sharding(plan.serving_mesh), replicated(plan.serving_mesh)
    grid_BT = jax.ShapeDtypeStruct((rows, tokens), jnp.int32, sharding=by_row)
    return grid_BT, grid_BT, grid_BT, jax.ShapeDtypeStruct((prompts,), jnp.int32, sharding=everywhere)


def decode_shapes(plan: Setup, tiers: Sequence[tuple[int, int]]) -> tuple[tuple[Any, ...], programs.Rows]:
    """(caches, rows) of a decode chunk over all `tiers` of (slots, positions), those for drafts apart."""
    sampler = plan.sampler
    tiers = sampler.with_draft_slots(tuple(tiers))
    like = (sampler.compute_dtype, sampler.mesh, sampler.tuning.implementation)
    caches = tuple(decoding.cache_shapes(sampler.model_config, slots, length, *like) for slots, length in tiers)
    slots = sum(slots for slots, _ in tiers)
    by_row = batch_sharding(plan.serving_mesh)

    def row(dtype: Any, *more: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((slots, *more), dtype, sharding=by_row)

    rows = programs.Rows(
        token_B=row(jnp.int32),
        position_B=row(jnp.int32),
        remaining_B=row(jnp.int32),
        live_B=row(jnp.bool_),
        temperature_B=row(jnp.float32),
        id_words_B2=row(jnp.uint32, 2),
        history_BS=row(jnp.int32, sampler.max_length) if sampler.drafts else None,
    )
    return caches, rows


def _key(plan: Setup) -> jax.ShapeDtypeStruct:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=replicated(plan.serving_mesh))
