"""The mesh (data, fsdp, tensor), and over which of its axes each array axis is sharded, declared once."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from azr_jax.model.configuration import ModelConfig, divisors

MESH_AXES = ("data", "fsdp", "tensor")
# By jax's names, TPU chips on which a tensor axis of 2 has the quickest simulated step of the 3B.
_TPUS = ("TPU v4", "TPU v5", "TPU v5p", "TPU v5 lite", "TPU v5e", "TPU v6 lite", "TPU v6e", "TPU7x")
_TENSOR_SIZES = ("heads", "kv_heads", "ffn_dim", "vocab_size")
HOST_MEMORY = "pinned_host"  # the memory kind of arrays that are kept in host memory

_SMALL = 2_000_000_000
# Logical axis -> mesh axes. "embed" is what fully sharded data parallelism splits; it is gathered before use.
RULES: dict[str, str | tuple[str, ...] | None] = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "ffn": "tensor",
    "norm": None,
    "batch": ("data", "fsdp"),
    "length": None,
    "sequence": "tensor",  # positions of hidden states between layers
    "activation": None,
}

# The axes of a Transformer's parameters; those of the layers are stacked on a leading "layers" axis.
PARAM_AXES: dict[str, tuple[str, ...]] = {
    "embed_VD": ("vocab", "embed"),
    "head_VD": ("vocab", "embed"),
    "norm_D": ("norm",),
    "attention_norm_LD": ("layers", "norm"),
    "query_LDNH": ("layers", "embed", "heads", "head_dim"),
    "key_LDKH": ("layers", "embed", "kv_heads", "head_dim"),
    "value_LDKH": ("layers", "embed", "kv_heads", "head_dim"),
    "query_bias_LNH": ("layers", "heads", "head_dim"),
    "key_bias_LKH": ("layers", "kv_heads", "head_dim"),
    "value_bias_LKH": ("layers", "kv_heads", "head_dim"),
    "query_norm_LH": ("layers", "norm"),
    "key_norm_LH": ("layers", "norm"),
    "output_LNHD": ("layers", "heads", "head_dim", "embed"),
    "ffn_norm_LD": ("layers", "norm"),
    "gate_LDF": ("layers", "embed", "ffn"),
    "up_LDF": ("layers", "embed", "ffn"),
    "down_LFD": ("layers", "ffn", "embed"),
}


def make_mesh(data: int = 1, fsdp: int = -1, tensor: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with axes (data, fsdp, tensor), all Auto; -1 on one axis means the devices that the others leave.

    Raises:
      ValueError: naming the axis and the values that divide the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = {"data": data, "fsdp": fsdp, "tensor": tensor}
    free = [axis for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise ValueError(f"mesh axes {free} are both -1; at most one may be: give the others a size")
    for axis, size in sizes.items():
        if size != -1 and size < 1:
            raise ValueError(f"mesh axis {axis!r} is {size}; it must be -1 or at least 1")
        if size != -1 and len(devices) % size:
            raise ValueError(
                f"mesh axis {axis!r} is {size}, which does not divide {len(devices)} devices; choose one of "
                f"{divisors(len(devices))}"
            )
    product = math.prod(size for size in sizes.values() if size != -1)
    if len(devices) % product or (not free and product != len(devices)):
        axis = free[0] if free else "fsdp"
        raise ValueError(
            f"mesh data={data} fsdp={fsdp} tensor={tensor} needs {product} devices, there are {len(devices)}: set "
            f"{axis}=-1 and choose the others so that their product is one of {divisors(len(devices))}"
        )
    if free:
        sizes[free[0]] = len(devices) // product
    # jax.make_mesh would split a physical axis of the interconnect on a v5e alone, and refuse meshes elsewhere.
    grid = mesh_utils.create_device_mesh(tuple(sizes.values()), devices, allow_split_physical_axes=True)
    return Mesh(grid, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def with_tensor(mesh: Mesh, tensor: int) -> Mesh:
    """The same devices in the same order with another tensor axis, which divides their number, and data = 1."""
    if tensor == mesh.shape["tensor"]:
        return mesh
    return Mesh(mesh.devices.reshape(1, -1, tensor), MESH_AXES, axis_types=mesh.axis_types)


def quickest_tensor(config: ModelConfig, devices: Sequence[Any] | None = None) -> int:
    """The learner's tensor axis with the quickest simulated step of the 3B (`python -m azr_jax.plan`): 2 or 1.

    2 on several TPU chips from v4 on that it divides, 1 on GPUs and CPUs.
    """
    devices = list(jax.devices() if devices is None else devices)
    tensor = 2 if devices[0].device_kind in _TPUS else 1
    return 1 if len(devices) % tensor or unfit(config, tensor) else tensor


def quickest_sampler_tensor(config: ModelConfig, tensor: int, devices: Sequence[Any] | None = None) -> int:
    """The sampler's, at least the learner's `tensor`, with the quickest simulated step of the 3B and the 1.5B.

    On TPUs up to 4, but 2 on at most four chips, and on eight for models below _SMALL parameters; elsewhere `tensor`. A
    chip then reads a fraction of the weights for each token, which dominates the tail of a step, and more chips hold a
    copy of each key head.
    """
    devices = list(jax.devices() if devices is None else devices)
    few = 8 if config.parameters < _SMALL else 4
    most = 1 if devices[0].device_kind not in _TPUS else 2 if len(devices) <= few else 4
    fitting = (size for size in sampler_tensors(config, len(devices)) if tensor <= size <= most)
    return max(fitting, default=tensor)


def sampler_tensors(config: ModelConfig, devices: int) -> list[int]:
    """Every tensor axis with which that many devices can sample."""
    return [size for size in divisors(devices) if not unfit(config.with_heads_for(size), size)]


def unfit(config: ModelConfig, tensor: int) -> list[str]:
    """The model's sizes that a tensor axis splits and `tensor` does not divide."""
    return [field for field in _TENSOR_SIZES if getattr(config, field) % tensor]


def spec(axes: Sequence[str], gathered: bool = False) -> P:
    """The PartitionSpec of an array with these logical axes; `gathered` as used in a matrix product, fsdp undone."""
    return P(*(None if gathered and axis == "embed" else RULES[axis] for axis in axes))


def constrain(array: jax.Array, mesh: Mesh | None, axes: Sequence[str], gathered: bool = False) -> jax.Array:
    """Pins an array inside a jitted function to the rules; without a mesh, returns it as it is."""
    if mesh is None:
        return array
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, spec(axes, gathered)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gathered(weight: jax.Array, mesh: Mesh | None, axes: tuple[str, ...]) -> jax.Array:
    """A weight for use in a matrix product: whole over fsdp. Its gradient is reduce-scattered to the parts.

    The transpose of `constrain` alone would ask for the whole gradient on every device, an all-reduce of twice the
    bytes, before its part is cut out.
    """
    return constrain(weight, mesh, axes, gathered=True)


def _gathered_forward(weight: jax.Array, mesh: Mesh | None, axes: tuple[str, ...]) -> tuple[jax.Array, None]:
    return gathered(weight, mesh, axes), None


def _gathered_backward(mesh: Mesh | None, axes: tuple[str, ...], _: None, gradient: jax.Array) -> tuple[jax.Array]:
    return (constrain(gradient, mesh, axes),)


gathered.defvjp(_gathered_forward, _gathered_backward)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data and fsdp, for [B, ...] and [slots, ...] arrays."""
    return NamedSharding(mesh, P(RULES["batch"]))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, P())


def place(tree: Any, sharding: NamedSharding | None) -> Any:
    """Host arrays, the same on every host, on the devices of `sharding` (None: the default one)."""
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    # Each host sends its own devices their part; device_put would first compare the arrays of all hosts.
    return jax.tree.map(lambda array: jax.make_array_from_callback(array.shape, sharding, lambda at: array[at]), tree)


def readable(array: jax.Array, mesh: Mesh | None) -> jax.Array:
    """An output that the host will read: whole on every device when the mesh has those of several hosts."""
    if mesh is None or not mesh.is_multi_process:
        return array
    return jax.lax.with_sharding_constraint(array, replicated(mesh))


def param_shardings(abstract_params: Any, mesh: Mesh, config: ModelConfig, serving: bool = False) -> Any:
    """A NamedSharding for every leaf of a Transformer's parameters (arrays, or the shapes of them), in the same tree.

    `serving` keeps weights whole over fsdp (split only by tensor): decoding would otherwise gather all of them for
    every token.

    Raises:
      ValueError: a size that its mesh axis does not divide, naming both and the values that fit.
    """
    check_divisible(config, mesh)

    def sharding_of(path: tuple[Any, ...], _: Any) -> NamedSharding:
        return NamedSharding(mesh, spec(PARAM_AXES[leaf_name(path)], gathered=serving))

    return jax.tree_util.tree_map_with_path(sharding_of, abstract_params)


def leaf_name(path: tuple[Any, ...]) -> str:
    """The attribute that holds a parameter, from its tree path: ('layers', 'gate_LDF', '.value') -> 'gate_LDF'."""
    names = [str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path]
    return next(name for name in reversed(names) if name in PARAM_AXES)


def check_divisible(config: ModelConfig, mesh: Mesh | AbstractMesh) -> None:
    """Raises ValueError if a mesh axis does not divide the model's sizes that are sharded over it."""
    sizes = {"tensor": _TENSOR_SIZES, "fsdp": ("embed_dim",)}
    for axis, fields in sizes.items():
        for field in fields:
            if getattr(config, field) % mesh.shape[axis]:
                common = math.gcd(*(getattr(config, name) for name in fields))
                raise ValueError(
                    f"mesh axis {axis!r} is {mesh.shape[axis]}, which does not divide {field}="
                    f"{getattr(config, field)}; choose {axis} among {divisors(common)}"
                )


def row_parts(mesh: Mesh | AbstractMesh | None) -> int:
    """The groups of devices that rows are split over: data x fsdp; 1 without a mesh."""
    return 1 if mesh is None else mesh.shape["data"] * mesh.shape["fsdp"]


def check_batch(rows: int, mesh: Mesh | AbstractMesh, name: str) -> None:
    """Raises ValueError when `rows` (a batch or slot count called `name`) does not split over data x fsdp."""
    parts = row_parts(mesh)
    if rows % parts:
        raise ValueError(
            f"{name}={rows} is not a multiple of data x fsdp = {mesh.shape['data']} x {mesh.shape['fsdp']}; choose "
            f"{rows + -rows % parts} or another multiple of {parts}"
        )


def local_bytes(tree: Any) -> int:
    """Bytes of a tree of arrays, or of shapes with shardings, on one of its devices."""
    return sum(leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(tree))


def least_of_hosts(value: int) -> int:
    """The least of all hosts' values (int32), so that all choose alike. Every host must call it."""
    if jax.process_count() == 1:
        return value
    return int(np.min(multihost_utils.process_allgather(np.int32(value))))


def placed(shapes: Any, shardings: Any) -> Any:
    """The shapes, each with its sharding."""
    return jax.tree.map(
        lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding), shapes, shardings
    )
