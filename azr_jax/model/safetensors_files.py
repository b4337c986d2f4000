"""The safetensors files of one directory, single or sharded, read a tensor at a time with errors that name the file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_DTYPES = ("F32", "BF16", "F16")


class TensorFiles:
    """Open files of a directory: `files[tensor name]` is the file's path, `read` gives the array.

    Raises:
      ValueError: a file that is corrupt, truncated or missing, or an index that disagrees with the files.
    """

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.files: dict[str, Path] = {}
        self._handles: dict[Path, Any] = {}
        index = directory / INDEX_FILE
        promised = _read_index(index) if index.is_file() else {}
        for path in dict.fromkeys(promised.values()) if promised else [directory / WEIGHTS_FILE]:
            try:
                handle = stack.enter_context(safe_open(path, framework="numpy"))
            except FileNotFoundError as error:
                raise ValueError(f"{path}: named by {INDEX_FILE} but missing; download the model again") from error
            except SafetensorError as error:
                raise ValueError(f"{path}: corrupt or truncated ({error}); download the file again") from error
            self._handles[path] = handle
            self.files |= dict.fromkeys(handle.keys(), path)
        for name, path in promised.items():
            if self.files.get(name) != path:
                raise ValueError(f"{path}: tensor {name} is named by {INDEX_FILE} but absent; download the model again")

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises ValueError if the tensor has another shape or is no plain floating-point tensor."""
        part = self._handles[self.files[name]].get_slice(name)
        if tuple(part.get_shape()) != shape:
            raise ValueError(
                f"{self.files[name]}: tensor {name} has shape {tuple(part.get_shape())}, config.json asks for {shape}; "
                "use the config.json that belongs to these weights"
            )
        if part.get_dtype() not in _DTYPES:
            raise ValueError(
                f"{self.files[name]}: tensor {name} has type {part.get_dtype()}, supported are {_DTYPES}; use the "
                "unquantised weights"
            )

    def read(self, name: str) -> np.ndarray:
        """The tensor as it is in the file (bfloat16 through ml_dtypes)."""
        return self._handles[self.files[name]].get_tensor(name)


@contextlib.contextmanager
def open_tensor_files(directory: Path) -> Iterator[TensorFiles]:
    """`TensorFiles` of a directory, closed on leaving."""
    with contextlib.ExitStack() as stack:
        yield TensorFiles(directory, stack)


def _read_index(index: Path) -> dict[str, Path]:
    """Tensor name to file, from model.safetensors.index.json."""
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not weight_map:
            raise ValueError("it names no tensor")
        return {name: index.parent / file for name, file in weight_map.items()}
    except (RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index}: not an index with a weight_map ({error}); download the file again") from error
