"""Writes a model as a Hugging Face directory that transformers and vLLM load: config, safetensors, tokenizer files."""

from __future__ import annotations

import functools
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from safetensors import SafetensorError
from safetensors.numpy import save_file

from azr_jax.model.checkpoint_names import FileTensor, file_tensors
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.safetensors_files import INDEX_FILE, WEIGHTS_FILE
from azr_jax.model.sharding import leaf_name
from azr_jax.workdir import atomic, json_lines

COPIED_FILES = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "LICENSE",
)
_ORIGIN = "azr_jax"
_DTYPES = ("float32", "bfloat16", "float16")


def save(
    path: str | Path,
    config: ModelConfig,
    params: nnx.State,
    tokenizer_source: str | Path | None = None,
    dtype: Any = None,
    shard_bytes: int = 5_000_000_000,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Writes config.json, the weights in files of at most `shard_bytes`, and `tokenizer_source`'s tokenizer files.

    `dtype` is the files', by default the parameters'; `origin` is kept in config.json under "azr_jax" and says where
    the weights come from, such as a run and its step (`origin_of` reads it). The directory appears whole or not at all;
    an earlier export at `path` is replaced. On several hosts every host must call it; the first one writes.

    Raises:
      ValueError: a dtype that is no floating type of these files, a `path` that holds something else than an export, is
        remote, or is `tokenizer_source` itself; a tokenizer_source without tokenizer files.
      OSError: the directory can't be written; what was at `path` before stays.
    """
    weights = {leaf_name(tree_path): leaf for tree_path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    dtype = jnp.dtype(dtype or next(iter(weights.values())).dtype)
    if dtype.name not in _DTYPES:
        raise ValueError(f"export: dtype is {dtype.name}; choose one of {_DTYPES}")
    path = _checked_target(path, tokenizer_source)
    writer = jax.process_index() == 0
    with atomic.folder(path, writer) as partial:
        if writer:
            hf = {**config.to_hf(), "torch_dtype": dtype.name}
            if origin is not None:
                hf[_ORIGIN] = dict(origin)
            (partial / "config.json").write_text(json.dumps(hf, indent=2) + "\n", encoding="utf-8")
            for file in _tokenizer_files(tokenizer_source):
                shutil.copyfile(file, partial / file.name)
        _write_weights(partial, config, weights, dtype, shard_bytes, writer)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"export {path}")


def origin_of(path: str | Path) -> dict[str, Any] | None:
    """The run and step of the export at `path`; {} if it names none, None if there is no export."""
    config = Path(path) / "config.json"
    if not config.is_file():
        return None
    origin = json_lines.json_object(config).get(_ORIGIN)
    return origin if isinstance(origin, dict) else {}


def _write_weights(
    directory: Path, config: ModelConfig, weights: dict[str, jax.Array], dtype: Any, shard_bytes: int, writer: bool
) -> None:
    shards = list(_shards(config, dtype, shard_bytes))
    names = [WEIGHTS_FILE]
    if len(shards) > 1:
        names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        tensors = {}
        for tensor in shard:
            weight = _to_host(weights[tensor.parameter], tensor.layer, dtype)
            if writer:
                tensors[tensor.name] = tensor.from_parameter(weight)
        if writer:
            try:
                save_file(tensors, directory / name, metadata={"format": "pt"})
                # safetensors makes files that only their owner may read.
                (directory / name).chmod((directory / "config.json").stat().st_mode)
            except SafetensorError as error:  # such as a full disk
                raise OSError(f"{directory / name}: can't be written ({error})") from error
    if writer and len(shards) > 1:
        files = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(math.prod(tensor.shape) for shard in shards for tensor in shard) * dtype.itemsize
        index = {"metadata": {"total_size": total}, "weight_map": files}
        (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(config: ModelConfig, dtype: Any, shard_bytes: int) -> Iterator[list[FileTensor]]:
    """The model's tensors in files of at most `shard_bytes` (a larger tensor gets its own file)."""
    shard: list[FileTensor] = []
    size = 0
    for tensor in file_tensors(config):
        tensor_bytes = math.prod(tensor.shape) * dtype.itemsize
        if shard and size + tensor_bytes > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += tensor_bytes
    yield shard


def _to_host(stack: jax.Array, layer: int | None, dtype: Any) -> np.ndarray:
    """One layer of a parameter (or the whole parameter), gathered from all devices and hosts."""
    sharding = stack.sharding
    whole = NamedSharding(sharding.mesh, P()) if isinstance(sharding, NamedSharding) else None
    if layer is None:
        gathered = jax.jit(lambda stack: stack.astype(dtype), out_shardings=whole)(stack)
    else:
        gathered = _slice_layer(stack, jnp.int32(layer), dtype, whole)
    return np.asarray(gathered.addressable_data(0))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _slice_layer(stack: jax.Array, layer: jax.Array, dtype: Any, sharding: NamedSharding | None) -> jax.Array:
    weight = jax.lax.dynamic_index_in_dim(stack, layer, axis=0, keepdims=False).astype(dtype)
    return weight if sharding is None else jax.lax.with_sharding_constraint(weight, sharding)


def _checked_target(path: str | Path, tokenizer_source: str | Path | None) -> Path:
    if "://" in str(path):
        raise ValueError(f"export: {path} is remote; write to a local directory and copy it there")
    path = Path(path).resolve()  # a link to another disk stays: its target is replaced
    if tokenizer_source is not None and path == Path(tokenizer_source).resolve():
        raise ValueError(f"export: {path} is also the tokenizer_source; choose another directory for the export")
    if path.exists() and not path.is_dir():
        raise ValueError(f"export: {path} is a file; choose a directory")
    if path.is_dir() and any(path.iterdir()) and not (path / "config.json").is_file():
        raise ValueError(f"export: {path} holds something that is no model; choose an empty or new directory")
    # A run's workdir has a config.json too: only the files of an export are replaced.
    alien = sorted(file.name for file in path.iterdir() if not _is_of_an_export(file)) if path.is_dir() else []
    if alien:
        raise ValueError(
            f"export: {path} holds {alien[0]}, which is no part of an export; choose an empty or new directory"
        )
    return path


def _is_of_an_export(file: Path) -> bool:
    known = file.name in ("config.json", INDEX_FILE, *COPIED_FILES) or file.suffix == ".safetensors"
    return known and not file.is_dir()


def _tokenizer_files(source: str | Path | None) -> list[Path]:
    if source is None:
        return []
    files = [Path(source) / name for name in COPIED_FILES if (Path(source) / name).is_file()]
    if not any(file.name in ("tokenizer.json", "tokenizer.model", "vocab.json") for file in files):
        raise ValueError(f"export: tokenizer_source={source} holds no tokenizer.json, tokenizer.model or vocab.json")
    return files
