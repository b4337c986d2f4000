"""Finds `model.path`: a local directory, or a model of the Hugging Face hub, which is downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from azr_jax.config import located
from azr_jax.model import smollm2

# What a decoder and its tokenizer read; a repository may hold the same weights in other formats too.
_FILES = ["*.json", "*.jinja", "*.model", "*.safetensors", "*.txt", "LICENSE*"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_LOCAL_OWNERS = ("weights", "azr_jax", "runs", "models", "checkpoints")  # folders that configs and docs name


def model_directory(path: str) -> Path:
    """The directory of the model's files: `path` itself, or where its download from the hub is stored.

    `path` is a directory, one of the package's own (`azr_jax/embedded/azr-tiny`), or an id of the hub such as
    `Qwen/Qwen2.5-Coder-3B`. A download shows its progress and is kept in the hub's cache (HF_HOME); what is there
    already is not downloaded again.

    Raises:
      FileNotFoundError: a local path that does not exist, or an id that the hub does not have or can't be asked for,
        with the id that was asked for and the fix.
    """
    check_path(path)
    directory = Path(located(path)).expanduser()
    return directory if directory.exists() else _downloaded(path)


def check_path(path: str) -> None:
    """Raises FileNotFoundError, with the fix, if `path` is no directory and no id of the hub by its looks; offline."""
    directory = Path(located(path)).expanduser()
    if not path or directory.is_file():
        what = "is a file" if path else "names no model"
        raise FileNotFoundError(
            f"model.path={path!r}: {what}. Give the directory that holds config.json, or an id of the Hugging Face hub"
            " such as Qwen/Qwen2.5-Coder-3B"
        )
    if not directory.exists() and not _is_hub_id(path):
        packaged = "; `make setup-smollm2` makes it too" if directory.name == smollm2.NAME else ""
        raise FileNotFoundError(
            f"model.path={path!r}: no such directory. Give the directory that holds config.json, an id of the Hugging"
            f" Face hub, or download the model there: `hf download {_id_to_name(path)} --local-dir {directory}`"
            f"{packaged}"
        )


def download_command(directory: Path) -> str:
    """The command that downloads a model into `directory`, guessed from the directory's name."""
    return f"hf download {_id_to_name(str(directory))} --local-dir {directory}"


def _is_hub_id(path: str) -> bool:
    owner = path.partition("/")[0]
    return bool(_HUB_ID.fullmatch(path)) and owner not in _LOCAL_OWNERS and not Path(owner).is_dir()


def _id_to_name(path: str) -> str:
    name = Path(path).name
    owners = {"Qwen": "Qwen", "SmolLM2": "HuggingFaceTB"}
    return f"{next((owners[family] for family in owners if name.startswith(family)), 'OWNER')}/{name}"


def _downloaded(hub_id: str) -> Path:
    import huggingface_hub  # takes a second to import, which a local model does not need
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=_FILES))
    except errors.GatedRepoError as error:
        raise FileNotFoundError(
            f"model.path={hub_id!r}: the hub gives this model only to users who accepted its licence: accept it on"
            f" https://huggingface.co/{hub_id} and log in with `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"model.path={hub_id!r}: the Hugging Face hub has no model of this id (or a private one: `hf auth login`),"
            " and there is no such directory here; correct the id or the path"
        ) from error
    except Exception as error:  # a connection that breaks raises its HTTP library's own, no OSError
        raise FileNotFoundError(
            f"model.path={hub_id!r}: the Hugging Face hub can't be reached ({type(error).__name__}), and there is no"
            f" such directory here. Where there is a network, run `hf download {hub_id} --local-dir"
            f" weights/{Path(hub_id).name}`, and set model.path to that directory"
        ) from error
