"""Weights between Hugging Face directories (safetensors) and a Transformer's stacked parameters; random weights.

Tensors are read one at a time: a host holds one tensor, a device its share. Layouts: `checkpoint_names.py`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from azr_jax.model.checkpoint_names import EMBEDDING, HEAD, IGNORED, FileTensor, file_tensors
from azr_jax.model.configuration import ModelConfig, end_ids
from azr_jax.model.export import save
from azr_jax.model.hub import download_command
from azr_jax.model.safetensors_files import INDEX_FILE, WEIGHTS_FILE, TensorFiles, open_tensor_files
from azr_jax.model.sharding import leaf_name, param_shardings
from azr_jax.model.transformer import Transformer, abstract

__all__ = ["init", "load", "load_config", "save"]


def load_config(path: str | Path) -> ModelConfig:
    """Reads config.json of a Hugging Face directory; the end tokens of generation_config.json are added to its own.

    Raises:
      FileNotFoundError: no config.json, with the command that downloads it.
      ValueError: not JSON, or a model that this decoder does not support.
    """
    path = Path(path)
    if not (path / "config.json").is_file():
        raise FileNotFoundError(_how_to_download(path, "config.json"))
    hf = _read_json(path / "config.json")
    generation = _read_json(path / "generation_config.json") if (path / "generation_config.json").is_file() else {}
    try:
        if generation:
            ids = [*end_ids(hf.get("eos_token_id")), *end_ids(generation.get("eos_token_id"), "generation_config.json")]
            hf = {**hf, "eos_token_id": list(dict.fromkeys(ids)) or None}
        return ModelConfig.from_hf(hf)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def load(
    path: str | Path, mesh: Mesh | None = None, dtype: Any = jnp.float32, serving: bool = False
) -> tuple[ModelConfig, nnx.State]:
    """Reads a Hugging Face directory: (config, parameters as `transformer.abstract(config)` describes them).

    `dtype` is the parameters'; files may hold float32, bfloat16 or float16. `serving`: see `param_shardings`.

    Raises:
      FileNotFoundError: no config.json or no weights at `path`, with the command that downloads them.
      ValueError: a corrupt, truncated or missing file, or a tensor that is missing, unknown or of the wrong shape or
        type, naming the file, the tensor and the fix.
    """
    path = Path(path)
    config = load_config(path)
    if not (path / INDEX_FILE).is_file() and not (path / WEIGHTS_FILE).is_file():
        raise FileNotFoundError(_how_to_download(path, WEIGHTS_FILE))
    dtype = jnp.dtype(dtype)
    by_parameter: dict[str, list[FileTensor]] = {}
    with open_tensor_files(path) as files:
        _check_tensors(files, config, path)
        for tensor in file_tensors(config):
            by_parameter.setdefault(tensor.parameter, []).append(tensor)
        _, shapes = abstract(config, dtype=dtype, attention_kernel="xla")

        def loaded(tree_path: tuple[Any, ...], shape: jax.ShapeDtypeStruct, sharding: Sharding) -> jax.Array:
            return _load_parameter(files, by_parameter[leaf_name(tree_path)], shape, sharding)

        params = jax.tree_util.tree_map_with_path(loaded, shapes, _shardings(shapes, mesh, config, serving))
    logging.info("loaded %d parameters of %s", config.parameters, path)
    return config, params


def init(
    config: ModelConfig, seed: int, mesh: Mesh | None = None, dtype: Any = jnp.float32, serving: bool = False
) -> nnx.State:
    """Random parameters: normal with transformers' standard deviation 0.02, biases 0, norms 1. Same on every mesh."""

    def make() -> nnx.State:
        return nnx.state(Transformer(config, rngs=nnx.Rngs(seed), dtype=dtype, attention_kernel="xla"))

    shardings = _shardings(jax.eval_shape(make), mesh, config, serving)
    return jax.jit(make, out_shardings=shardings)()


def _shardings(shapes: nnx.State, mesh: Mesh | None, config: ModelConfig, serving: bool) -> Any:
    if mesh is not None:
        return param_shardings(shapes, mesh, config, serving)
    device = SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda _: device, shapes)


def _load_parameter(
    files: TensorFiles, tensors: list[FileTensor], shape: jax.ShapeDtypeStruct, sharding: Sharding
) -> jax.Array:
    """One parameter from its tensor, or stacked from one tensor a layer."""
    if tensors[0].layer is None:
        weight = tensors[0].to_parameter(files.read(tensors[0].name))
        return _place(weight, shape.dtype, sharding)
    stack = jnp.zeros(shape.shape, shape.dtype, device=sharding)
    for tensor in tensors:
        weight = tensor.to_parameter(files.read(tensor.name))[None]
        row = _place(weight, shape.dtype, sharding)
        stack = _write_layer(stack, row, jnp.int32(tensor.layer), sharding)
    return stack


def _place(weight: np.ndarray, dtype: Any, sharding: Sharding) -> jax.Array:
    """A host array on the devices of `sharding`; only a device's own part is cast and sent."""
    return jax.make_array_from_callback(
        weight.shape, sharding, lambda index: np.ascontiguousarray(weight[index].astype(dtype))
    )


@functools.partial(jax.jit, donate_argnums=0, static_argnums=3)
def _write_layer(stack: jax.Array, row: jax.Array, layer: jax.Array, sharding: Sharding) -> jax.Array:
    updated = jax.lax.dynamic_update_slice_in_dim(stack, row, layer, axis=0)
    return jax.lax.with_sharding_constraint(updated, sharding)


def _check_tensors(files: TensorFiles, config: ModelConfig, path: Path) -> None:
    """Raises ValueError for the first tensor that is missing, unknown or of the wrong shape or type."""
    wanted = {}
    # One after the other: a config.json with a billion layers fails at the first tensor that is missing.
    for tensor in file_tensors(config):
        name = tensor.name
        wanted[name] = tensor
        if name not in files.files:
            fix = "download the model again"
            if name == HEAD:
                fix = "set tie_word_embeddings to true in config.json if the model is tied, or download it again"
            raise ValueError(f"{path}: tensor {name} is in no file, config.json asks for it; {fix}")
        files.check(name, tensor.shape)
    for name in sorted(set(files.files) - set(wanted)):
        if IGNORED.fullmatch(name):
            continue
        if name == HEAD and config.tie_embeddings:
            files.check(name, wanted[EMBEDDING].shape)
            if np.array_equal(files.read(HEAD), files.read(EMBEDDING)):
                continue
            raise ValueError(
                f"{files.files[name]}: tensor {name} differs from {EMBEDDING} but config.json ties them; set "
                "tie_word_embeddings to false in config.json"
            )
        raise ValueError(
            f"{files.files[name]}: tensor {name} is unknown to a {config.layers}-layer {config.family} model; use the "
            "config.json that belongs to these weights"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); download the file again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object; download the file again")
    return content


def _how_to_download(path: Path, file: str) -> str:
    return (
        f"{path / file} does not exist. Download the model into that directory: `{download_command(path)}` (older"
        " releases: `huggingface-cli download` with the same arguments), or set the path to where the files already are"
    )
