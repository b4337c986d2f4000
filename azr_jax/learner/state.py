"""`TrainState`: what an update changes and a checkpoint keeps, and how it is sharded over the mesh."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from azr_jax.config import LearnerSettings
from azr_jax.learner.adamw import Moments, init_moments
from azr_jax.learner.packing import Leaf
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import PARAM_AXES, leaf_name, param_shardings, replicated


@flax.struct.dataclass
class TrainState:
    """State of training, on the mesh: params and moments sharded alike, the rest replicated.

    Attributes:
      params: the policy's float32 parameters, as `nnx.split(Transformer)` gives them.
      value_head: {"kernel_D", "bias"} float32 for the "gae" estimator, else None.
      reference: the starting policy in the compute dtype (norm scales in float32) when kl_coef > 0, else None.
      opt_state: AdamW moments of params and value head.
      step: int32, optimizer steps taken.
      skipped_updates: int32, optimizer steps skipped since a loss or gradient was not finite.
    """

    params: Any
    value_head: dict[str, Leaf] | None
    reference: Any
    opt_state: Moments
    step: Leaf
    skipped_updates: Leaf

    @property
    def trainable(self) -> dict[str, Any]:
        """What the optimizer updates, as one tree."""
        return trainable(self.params, self.value_head)


def trainable(params: Any, value_head: dict[str, Leaf] | None) -> dict[str, Any]:
    """The tree that gradients, moments and updates are in."""
    return {"policy": params, "value_head": value_head}


def decay_mask(tree: dict[str, Any], falls_on: str = "matrices") -> dict[str, Any]:
    """True where weight decay applies, in the tree of `trainable`: to "all", as in torch's AdamW, or to "matrices".

    Matrices are embedding, head, projections and the value head's kernel; norm scales and biases have no scale to
    shrink to. (The rank does not tell: a norm scale, stacked over layers, has two axes.)
    """
    if falls_on == "all":
        return jax.tree.map(lambda _: True, tree)
    policy = jax.tree_util.tree_map_with_path(
        lambda path, _: "embed" in PARAM_AXES[leaf_name(path)],  # every matrix has an embedding axis, nothing else does
        tree["policy"],
    )
    head = tree["value_head"]
    return trainable(policy, None if head is None else {"kernel_D": True, "bias": False})


def init_state(params: Any, config: ModelConfig, settings: LearnerSettings, dtype: Any) -> TrainState:
    """A fresh state around `params` (any float dtype, copied); pure, for jit or eval_shape.

    The value head starts at 0: the first advantages are the returns. `dtype` is the reference's.
    """
    float32_params = jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), params)
    head = None
    if settings.estimator == "gae":
        head = {"kernel_D": jnp.zeros(config.embed_dim, jnp.float32), "bias": jnp.zeros((), jnp.float32)}
    reference = _reference(params, dtype) if settings.kl_coef > 0 else None
    return TrainState(
        params=float32_params,
        value_head=head,
        reference=reference,
        opt_state=init_moments(trainable(float32_params, head), settings.moment_dtype),
        step=jnp.zeros((), jnp.int32),
        skipped_updates=jnp.zeros((), jnp.int32),
    )


def _reference(params: Any, dtype: Any) -> Any:
    """A copy of `params` as the model casts them to compute: all but the norms' scales, which it takes as they are.

    So the KL to a policy that has not moved is 0.
    """

    def copied(path: Any, leaf: Any) -> jax.Array:
        return jnp.array(leaf, jnp.float32 if "norm" in leaf_name(path) else dtype, copy=True)

    return jax.tree_util.tree_map_with_path(copied, params)


def state_shardings(abstract: TrainState, config: ModelConfig, mesh: Mesh) -> TrainState:
    """A NamedSharding for each leaf of a state given by its shapes."""
    everywhere = replicated(mesh)
    policy = param_shardings(abstract.params, mesh, config)
    head = jax.tree.map(lambda _: everywhere, abstract.value_head)
    tree = trainable(policy, head)
    return TrainState(
        params=policy,
        value_head=head,
        reference=None if abstract.reference is None else policy,
        opt_state=Moments(mu=tree, nu=tree),
        step=everywhere,
        skipped_updates=everywhere,
    )
