"""Token embedding on a mesh: each device looks up its own part of the table, so that the table is never gathered."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from azr_jax.model.sharding import PARAM_AXES, RULES, spec


def embed(table_VD: jax.Array, tokens: jax.Array, dtype: Any, mesh: Mesh | None) -> jax.Array:
    """Rows of the table for tokens [B, ...], as [B, ..., D] in `dtype`; B is split over data x fsdp on a mesh.

    Automatic partitioning of this gather (rows split over fsdp, table columns too) replicates its result on every
    device. Here each device gathers the tokens, looks up its columns, and sends them back to the rows' devices.
    """
    if mesh is None:
        return jnp.take(table_VD, tokens, axis=0).astype(dtype)

    def local(table_VD: jax.Array, tokens: jax.Array) -> jax.Array:
        tokens = jax.lax.all_gather(tokens, "fsdp", axis=0, tiled=True)
        rows = table_VD.shape[0]
        row = tokens - jax.lax.axis_index("tensor") * rows
        here = (row >= 0) & (row < rows)
        rows_BD = jnp.take(table_VD, jnp.where(here, row, 0), axis=0).astype(dtype)
        rows_BD = jax.lax.psum(jnp.where(here[..., None], rows_BD, 0), "tensor")
        return jax.lax.all_to_all(rows_BD, "fsdp", split_axis=0, concat_axis=rows_BD.ndim - 1, tiled=True)

    rest = (None,) * (tokens.ndim - 1)
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(spec(PARAM_AXES["embed_VD"]), P(RULES["batch"], *rest)),
        out_specs=P(RULES["batch"], *rest, None),
    )(table_VD, tokens)
