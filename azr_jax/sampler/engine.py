"""The sampler: weights to serve, compiled programs and sizes, shared by its sessions.

    sampler = Sampler(graphdef, model_config, tokenizer, settings, mesh, jnp.bfloat16)
    for rollout in sampler.generate(params, requests, seed): ...

A sample depends on the weights, the seed, the request's id, its prompt and its temperature alone: not on its slot, its
batch, the order of requests or the chunk size (up to rounding, which differs between array shapes).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from azr_jax.config import SamplerSettings
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import (
    HOST_MEMORY,
    PARAM_AXES,
    batch_sharding,
    check_batch,
    leaf_name,
    least_of_hosts,
    local_bytes,
    param_shardings,
    place,
    replicated,
    row_parts,
)
from azr_jax.model.tokenizer import Tokenizer
from azr_jax.model.transformer import Transformer
from azr_jax.sampler import buckets, memory, programs, serving, tuning
from azr_jax.sampler.decoding import LayerCaches, init_caches
from azr_jax.sampler.requests import Request
from azr_jax.sampler.session import Session
from azr_jax.sampler.tuning import Tuning
from azr_jax.types import Rollout


def _without_layers(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """One layer of a stacked array."""
    sharding = leaf.sharding
    assert isinstance(sharding, NamedSharding)
    without = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype, sharding=without)


def _on_device(leaf: jax.Array) -> jax.Array:
    """Moves an array of a learner's state from host memory to its devices."""
    if leaf.sharding.memory_kind != HOST_MEMORY:
        return leaf
    return jax.device_put(leaf, leaf.sharding.with_memory_kind("device"))


class Sampler:
    """Continuous batching over fixed slots.

    Args:
      graphdef: of the Transformer, from nnx.split; made with `model_config`, `compute_dtype` and `mesh`.
      model_config: as served: the weights may have fewer key heads (`ModelConfig.with_heads_for`).
      settings: lengths, slots (0: from memory), chunk, prefill tokens, top-p and top-k, drafts.
      mesh: the devices to sample on, or None for the default device.
      compute_dtype: of the weights as served and of the cache.
      tuned: how to work on these devices; `tuning.choose` if not given.

    Attributes:
      tiers: (slots, positions) of each of the caches there may be; chosen at the first session.
      slots: rows decoded together, of all tiers.
      drafts: tokens of a draft; 0: there are none.

    Raises:
      ValueError: lengths beyond the model's positions, a mesh that does not divide the model or the slots, or (at the
        first session) slots that memory does not hold.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef[Transformer],
        model_config: ModelConfig,
        tokenizer: Tokenizer,
        settings: SamplerSettings,
        mesh: Mesh | None = None,
        compute_dtype: Any = jnp.bfloat16,
        tuned: Tuning | None = None,
    ) -> None:
        longest = settings.max_prompt_tokens + settings.max_response_tokens
        if longest > model_config.max_positions:
            raise ValueError(
                f"sampler.max_prompt_tokens + sampler.max_response_tokens = {longest} is more than the model's"
                f" {model_config.max_positions} positions; lower one of them"
            )
        if mesh is not None:
            check_batch(settings.slots, mesh, "sampler.slots")
        self.model_config = model_config
        self.tokenizer = tokenizer
        self.settings = settings
        self.mesh = mesh
        self.compute_dtype = jnp.dtype(compute_dtype)
        self.parts = row_parts(mesh)
        self.tiers: tuple[tuple[int, int], ...] = ()
        self.elastic = False
        self.drafts = settings.draft_tokens if settings.draft_rows else 0
        self.compiled: set[Any] = set()  # what `ahead` has compiled
        self.tuning = tuned or tuning.choose(mesh, compute_dtype, model_config)
        self.max_length = longest + -longest % self.tuning.length_multiple
        self.programs = programs.build(
            graphdef,
            tuple(sorted(tokenizer.eos_ids)),
            settings.top_p,
            settings.top_k,
            settings.chunk,
            mesh,
            self.tuning,
            self.drafts,
        )
        self._graphdef = graphdef
        self._reshard: Any = None

    @property
    def slots(self) -> int:
        """Rows decoded together, of all tiers; 0 before the first session."""
        return sum(slots for slots, _ in self.tiers)

    @property
    def draft_slots(self) -> int:
        """Slots at most that a chunk with drafts computes; 0 without drafts."""
        if not self.drafts:
            return 0
        least = -(-buckets.SMALLEST_ROWS // (self.drafts + 1))  # each slot's tokens are rows of the matrix products
        slots = max(self.settings.draft_rows, least)
        return slots + -slots % self.parts

    def session(self, params: Any, seed: int) -> Session:
        """Begins a session on these weights (the learner's, of any dtype and sharding); see `serve`."""
        served = self.serve(params)
        if not self.tiers:
            # Programs are dispatched without waiting: until the copy is finished, its memory still counts as free.
            jax.block_until_ready(served)
            self._choose_tiers()
        return Session(self, served, seed)

    def generate(self, params: Any, requests: Iterable[Request], seed: int) -> Iterator[Rollout]:
        """Yields the rollouts of all `requests` as they finish."""
        session = self.session(params, seed)
        for request in requests:
            session.submit(request)
        while not session.idle:
            yield from session.step()

    def serve(self, params: Any) -> Any:
        """The weights as sampled from: in the compute dtype, whole over fsdp, split by tensor.

        Norm scales keep their dtype, as in the learner's forward pass. Arrays that are already in this form are shared,
        not copied. On one GPU, and on a CPU with a pretrained model, there is always a copy, in the form that decodes
        fastest (`serving.Weights`); an argument in that form is returned.
        """
        if isinstance(params, serving.Weights):
            return params
        params = jax.tree.map(_on_device, params)
        if self.tuning.unstacks:
            return self.reshard_program(params)(params)
        alike = jax.tree.map(
            lambda leaf, to: (
                (leaf.dtype, leaf.shape) == (to.dtype, to.shape)
                and (to.sharding is None or leaf.sharding.is_equivalent_to(to.sharding, leaf.ndim))
            ),
            params,
            self.served_shapes(params),
        )
        return params if jax.tree.all(alike) else self.reshard_program(params)(params)

    def served_shapes(self, params: Any) -> Any:
        """Dtypes and, on a mesh, shardings of the served weights of such `params` (arrays or their shapes)."""
        stacked = self._stacked_shapes(params)
        if not self.tuning.unstacks:
            return stacked
        served = jax.eval_shape(functools.partial(serving.unstacked, self._graphdef), stacked)
        if self.mesh is None:
            return served
        if self.mesh.size == 1:
            here = replicated(self.mesh)
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), served)
        by_name = {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(stacked)}
        layers = [{name: _without_layers(by_name[name]) for name in layer} for layer in served.layers]
        head_VD = None if served.head_VD is None else by_name["head_VD"]
        return dataclasses.replace(
            served, embed_VD=by_name["embed_VD"], norm_D=by_name["norm_D"], head_VD=head_VD, layers=layers
        )

    def _stacked_shapes(self, params: Any) -> Any:
        nowhere = jax.tree.map(lambda _: None, params)
        mesh, config = self.mesh, self.model_config
        shardings = nowhere if mesh is None else param_shardings(params, mesh, config, serving=True)

        def shape_of(path: tuple[Any, ...], leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
            order = dict(self.tuning.layouts).get(leaf_name(path))
            place = sharding if order is None else Format(Layout(order), sharding)
            copied = jax.eval_shape(functools.partial(self._copy_heads, path), leaf)
            return jax.ShapeDtypeStruct(copied.shape, self._served_dtype(path, leaf), sharding=place)

        return jax.tree_util.tree_map_with_path(shape_of, params, shardings)

    def reshard_program(self, params: Any) -> Any:
        """The jitted program that makes the served weights of parameters like these; made once, for all sessions."""
        if self._reshard is None:
            unstacks = self.tuning.unstacks
            before = jax.tree.map(lambda leaf: leaf.sharding, params)

            def cast(path: tuple[Any, ...], leaf: jax.Array, sharding: Any) -> jax.Array:
                # Cast the float32 shards before they are gathered: half the bytes on the wire.
                leaf = leaf.astype(self._served_dtype(path, leaf))
                if isinstance(sharding, NamedSharding):
                    leaf = jax.lax.with_sharding_constraint(leaf, sharding)
                return self._copy_heads(path, leaf)

            def reshard(params: Any) -> Any:
                params = jax.tree_util.tree_map_with_path(cast, params, before)
                return serving.unstacked(self._graphdef, params) if unstacks else params

            target = jax.tree.map(
                lambda leaf: leaf.sharding if leaf.format is None else leaf.format, self.served_shapes(params)
            )
            self._reshard = jax.jit(reshard, out_shardings=None if self.mesh is None else target)
        return self._reshard

    def _copy_heads(self, path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        """A projection to keys or values with as many heads as are served (`ModelConfig.with_heads_for`)."""
        axes = PARAM_AXES[leaf_name(path)]
        if "kv_heads" not in axes or leaf.shape[axes.index("kv_heads")] == self.model_config.kv_heads:
            return leaf
        axis = axes.index("kv_heads")
        return jnp.repeat(leaf, self.model_config.kv_heads // leaf.shape[axis], axis=axis)

    def _served_dtype(self, path: tuple[Any, ...], leaf: Any) -> Any:
        return leaf.dtype if "norm" in leaf_name(path) else self.compute_dtype

    def new_caches(self, slots: int, length: int) -> LayerCaches:
        """Empty slots of `length` positions."""
        implementation = self.tuning.implementation
        return init_caches(self.model_config, slots, length, self.compute_dtype, self.mesh, implementation)

    def new_rows(self, slots: int) -> programs.Rows:
        """The state of empty slots, on the devices."""
        return self.place_rows(programs.no_rows(slots, self.max_length if self.drafts else 0))

    def place_rows(self, tree: Any) -> Any:
        """Host arrays [rows, ...] on the devices, rows over data and fsdp."""
        return place(tree, None if self.mesh is None else batch_sharding(self.mesh))

    def replicate(self, tree: Any) -> Any:
        """Host arrays on every device."""
        return place(tree, None if self.mesh is None else replicated(self.mesh))

    def state_must_leave(self, state: Any) -> bool:
        """Whether a learner's state, now on the devices, has to move to host memory while sampling.

        True on TPUs if the slots asked for, or FEWEST_SLOTS, do not fit beside it (`azr_jax.plan` predicts it).
        """
        devices = memory.one_device() if self.mesh is None else self.mesh.devices
        if devices.flat[0].platform != "tpu":
            return False
        jax.block_until_ready(state)  # the program that makes it holds more memory
        share = devices.size * memory.TPU_SHARE
        beside = memory.free_bytes(devices) - int(share * local_bytes(self.served_shapes(state.params)))
        slots_beside, slots_alone = (
            sum(slots for slots, _ in self.fitting_tiers(free))
            for free in (beside, beside + int(share * local_bytes(state)))
        )
        return bool(least_of_hosts(int(memory.state_must_leave(self.settings, slots_beside, slots_alone))))

    def fitting_tiers(self, free: int) -> tuple[tuple[int, int], ...]:
        """(slots, positions) of the caches that `free` bytes of all devices hold beside a prefill; () if no slot fits.

        The most that fit where the settings ask for a number of slots, otherwise those that the sampler would take.
        """
        sizes = (self.model_config, self.settings, self.max_length, self.compute_dtype)
        slots = memory.slots_in(*sizes, free, self.parts)[0] // self.parts * self.parts
        if self.settings.slots or not self.tuning.tiers or not slots:
            if not self.settings.slots:
                like = (self.model_config, self.max_length, self.compute_dtype, self.tuning.reads_whole)
                slots = min(slots, memory.most_slots(*like) * self.parts)
            return ((slots, self.max_length),) if slots else ()
        return memory.tiers_in(*sizes, free, self.parts, self.tuning.length_multiple)

    def _choose_tiers(self) -> None:
        devices = memory.one_device() if self.mesh is None else self.mesh.devices
        sizes = (self.model_config, self.settings, self.max_length, self.compute_dtype, devices)
        if self.tuning.tiers and not self.settings.slots:
            tiers = memory.choose_tiers(*sizes, self.parts, self.tuning.length_multiple)
            self.tiers = self.with_draft_slots(tiers)
            return
        fitting = memory.choose_slots(*sizes, self.parts, self.tuning.reads_whole)
        slots = least_of_hosts(max(fitting // self.parts, 1) * self.parts)
        self.tiers = ((slots, self.max_length),)
        fits = memory.fits_twice(self.model_config, slots, self.max_length, self.compute_dtype, devices)
        self.elastic = bool(least_of_hosts(int(fits)))
        if not self.elastic:
            self.tiers = self.with_draft_slots(self.tiers)

    def with_draft_slots(self, tiers: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """The tiers with `draft_slots` of the longest apart, to which rows move when few are left."""
        if not tiers or not 0 < self.draft_slots < tiers[-1][0]:
            return tiers
        *shorter, (slots, length) = tiers
        return (*shorter, (slots - self.draft_slots, length), (self.draft_slots, length))
