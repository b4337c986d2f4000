"""Text to token ids and back, and the ids that end a response. No text is ever read as a control token."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azr_jax.model.configuration import ModelConfig

if TYPE_CHECKING:
    import tokenizers

# Qwen2.5 marks some control tokens (<|fim_prefix|>, <|file_sep|>) as not special; the form tells.
_CONTROL = re.compile(r"<\|.*\|>", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A byte-pair tokenizer. `eos_ids` end a response; `vocab_size` is the highest id + 1, at most the model's.

    `prefix_ids`: what the tokenizer's own files put in front of a prompt (Llama's begin token, Qwen's nothing).
    `anchor_ids`: tokens to decode a response behind, where the decoder treats a first token in its own way.
    """

    backend: tokenizers.Tokenizer
    eos_ids: frozenset[int]
    pad_id: int
    vocab_size: int
    bos_id: int | None = None
    prefix_ids: tuple[int, ...] = ()
    anchor_ids: tuple[int, ...] = ()

    def encode(self, text: str) -> list[int]:
        """Token ids of the text, nothing added. "<|endoftext|>" and its kind in the text are spelt out as plain text.

        Lone surrogates, which UTF-8 cannot hold, become "?".
        """
        text = text.encode("utf-8", errors="replace").decode("utf-8")
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a prompt: `encode` behind what the model's prompts begin with."""
        return [*self.prefix_ids, *self.encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, control tokens shown by name. Bytes that are no UTF-8 become U+FFFD, unknown ids nothing."""
        return self.backend.decode(list(ids), skip_special_tokens=False)

    def decode_response(self, ids: Sequence[int]) -> str:
        """Text of ids that follow a prompt; `decode` drops the space that a SentencePiece text begins with."""
        return self.decode([*self.anchor_ids, *ids])[len(self.decode(self.anchor_ids)) :]


def load_tokenizer(path: str | Path, model_config: ModelConfig | None = None) -> Tokenizer:
    """Reads the tokenizer of a Hugging Face directory: tokenizer.json, or what transformers.AutoTokenizer converts.

    `eos_ids` are the tokenizer's end token and, with `model_config`, the model's.

    Raises:
      FileNotFoundError: no tokenizer files, with the command that downloads them.
      ValueError: unreadable files, a tokenizer without an end token, ids beyond the model's vocabulary, or an end token
        that the model does not have, naming both and the fix.
    """
    path = Path(path)
    if (path / "tokenizer.json").is_file():
        backend, names = _from_json(path)
    elif any((path / name).is_file() for name in ("tokenizer.model", "vocab.json")):
        backend, names = _from_transformers(path)
    else:
        raise FileNotFoundError(
            f"{path} holds no tokenizer.json, tokenizer.model or vocab.json. Download a model's tokenizer there, for "
            f"example: `hf download Qwen/Qwen2.5-Coder-3B --local-dir {path}`"
        )
    # A tokenizer.json keeps what its maker last asked for; a prompt is never cut here.
    backend.no_truncation()
    backend.no_padding()
    _spell_out_control_tokens(backend)
    vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
    eos_id = _id(backend, names, "eos_token", path)
    pad_id = _id(backend, names, "pad_token", path)
    if eos_id is None and model_config is not None and model_config.eos_ids:
        eos_id = model_config.eos_ids[0]
    if eos_id is None:
        raise ValueError(f"{path}: tokenizer_config.json names no eos_token; add the model's, such as <|endoftext|>")
    if model_config is not None:
        _check_fits(path, model_config, vocab_size, eos_id)
    return Tokenizer(
        backend=backend,
        eos_ids=frozenset({eos_id, *(model_config.eos_ids if model_config is not None else ())}),
        pad_id=eos_id if pad_id is None else pad_id,
        vocab_size=vocab_size,
        bos_id=_id(backend, names, "bos_token", path),
        prefix_ids=_prefix(backend),
        anchor_ids=_anchor(backend),
    )


def _prefix(backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """What the post-processor puts in front of a text."""
    whole, plain = (backend.encode("a", add_special_tokens=added).ids for added in (True, False))
    count = next((at for at in range(len(whole) + 1) if whole[at : at + len(plain)] == plain), 0)
    return tuple(whole[:count])


def _anchor(backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """Tokens of a text, if what follows them is decoded otherwise alone."""
    anchor, ids = (backend.encode(text, add_special_tokens=False).ids for text in ("a", "a a"))
    parts = (anchor, ids[len(anchor) :], ids)
    first, last, whole = (backend.decode(part, skip_special_tokens=False) for part in parts)
    return tuple(anchor) if ids[: len(anchor)] == anchor and whole != first + last else ()


def _check_fits(path: Path, config: ModelConfig, vocab_size: int, eos_id: int) -> None:
    if vocab_size > config.vocab_size:
        raise ValueError(
            f"{path}: the tokenizer has {vocab_size} ids, the model's vocab_size is {config.vocab_size}; use the "
            "tokenizer that came with the model"
        )
    if config.eos_ids and eos_id not in config.eos_ids:
        raise ValueError(
            f"{path}: the tokenizer's eos_token has id {eos_id}, the model's eos_token_id is {list(config.eos_ids)}; "
            "use the tokenizer that came with the model, or make eos_token in tokenizer_config.json and eos_token_id "
            "in config.json agree"
        )
    beyond = [i for i in config.eos_ids if i >= vocab_size]
    if beyond:
        raise ValueError(
            f"{path}: the model's eos_token_id {beyond} is beyond the tokenizer's {vocab_size} ids; use the tokenizer "
            "that came with the model"
        )


def _from_json(path: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    import tokenizers  # here, so that importing this module costs nothing

    config = path / "tokenizer_config.json"
    try:
        names = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{config}: not JSON ({error}); download the file again") from error
    if not isinstance(names, dict):
        raise ValueError(f"{config}: not a JSON object; download the file again")
    try:
        return tokenizers.Tokenizer.from_file(str(path / "tokenizer.json")), names
    except Exception as error:  # the library raises Exception itself, no named kind
        raise ValueError(f"{path / 'tokenizer.json'}: unreadable ({error}); download the file again") from error


def _from_transformers(path: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    import transformers  # seconds to import, needed only to convert older formats

    try:
        converted = transformers.AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # each converter raises a kind of its own
        raise ValueError(
            f"{path}: its tokenizer can't be read ({type(error).__name__}: {error}); download its files again"
        ) from error
    backend = getattr(converted, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"{path}: transformers reads this tokenizer only with Python code ({type(converted).__name__}); write a "
            "tokenizer.json with transformers' save_pretrained of its fast version"
        )
    names = {key: getattr(converted, key) for key in ("eos_token", "pad_token", "bos_token")}
    return backend, names


def _spell_out_control_tokens(backend: tokenizers.Tokenizer) -> None:
    """Makes `encode` treat control tokens in text as plain text."""
    tokens = backend.get_added_tokens_decoder().values()
    control = [token for token in tokens if not token.special and _CONTROL.fullmatch(token.content)]
    for token in control:
        token.special = True
    backend.add_special_tokens(control)
    backend.encode_special_tokens = True


def _id(backend: tokenizers.Tokenizer, names: dict[str, Any], key: str, path: Path) -> int | None:
    """The id of a token that tokenizer_config.json names as text or as {"content": text}."""
    token = names.get(key)
    content = token.get("content") if isinstance(token, dict) else token
    if content is None:
        return None
    if not isinstance(content, str):
        raise ValueError(f"{path}: {key} of tokenizer_config.json is {token!r:.60}, not text; download it again")
    found = backend.token_to_id(content)
    if found is None:
        raise ValueError(
            f"{path}: {key} {content!r} of tokenizer_config.json is not in the vocabulary; download it again"
        )
    return found
