"""Text to token ids and back, and the ids that end a response. No text is ever read as a control token."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.hub import download_command

if TYPE_CHECKING:
    import tokenizers

# Qwen2.5 marks some control tokens (<|fim_prefix|>, <|file_sep|>) as not special; their form gives them away.
_CONTROL = re.compile(r"<\|.*\|>", re.DOTALL)
_CHAT_FILE = "chat_template.jinja"
_WITHOUT = "set model.chat_template='none', or a benchmark prompt (--prompt) other than instruct"
# What templates take for today: a resumed run, and every host of one, must ask the same prompts. Llama 3's own default.
_TODAY = datetime.datetime(2024, 7, 26)
_DATE_WORDS = ("A", "a", "B", "b", "d", "-d", "e", "F", "H", "I", "j", "M", "m", "-m", "p", "S", "Y", "y", "Z", "z")
_MESSAGE = "azr-jax-message-goes-here"  # rendered by a chat template instead of the message, which then replaces it


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A byte-pair tokenizer. `eos_ids` end a response; `vocab_size` is the highest id + 1, at most the model's.

    `prefix_ids`: what the tokenizer's own files put in front of a prompt (Llama's begin token, Qwen's nothing).
    `anchor_ids`: tokens to decode before a response, if the decoder treats a first token differently.
    `masked_ids`: ids of the masked tokens, for `ModelConfig.masked_ids`.
    `chat_template`: the model's own, in jinja; "" if it has none. `named`: texts of its bos_token, eos_token, ...
    `source`: the directory it was read from, for messages.
    """

    backend: tokenizers.Tokenizer
    eos_ids: frozenset[int]
    pad_id: int
    vocab_size: int
    bos_id: int | None = None
    prefix_ids: tuple[int, ...] = ()
    anchor_ids: tuple[int, ...] = ()
    masked_ids: tuple[int, ...] = ()
    chat_template: str = ""
    named: tuple[tuple[str, str], ...] = ()
    source: str = ""

    def encode(self, text: str) -> list[int]:
        """Token ids of the text, nothing added. "<|endoftext|>" and the like are spelt out as plain text.

        Lone surrogates, which UTF-8 cannot hold, become "?".
        """
        text = text.encode("utf-8", errors="replace").decode("utf-8")
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a prompt: `encode` after the tokens that the model's prompts begin with."""
        return [*self.prefix_ids, *self.encode(text)]

    def encode_chat(self, message: str, opening: str = "") -> list[int]:
        """Token ids of a user's message in the model's chat template, then of the beginning of the answer.

        A template that ends with `opening` itself, as those of reasoning models, gets no second one. Control tokens of
        the template are tokens; those in `message` and `opening` are spelt out, as in `encode`.

        Raises:
          ValueError: no chat template, or one that refuses a user's message or does not show it once, with the fix.
        """
        before, after, end = self._chat_frame
        begun = bool(opening) and end.endswith(opening)
        return [*before, *self.encode(message), *after, *self.encode("" if begun else opening)]

    @functools.cached_property
    def _chat_frame(self) -> tuple[list[int], list[int], str]:
        """Token ids of what the chat template puts before and after a user's message; its end without white space."""
        parts = _rendered(self, _MESSAGE).split(_MESSAGE)
        if len(parts) != 2:
            raise ValueError(
                f"{self.source}: the chat template shows a user's message {len(parts) - 1} times, not once; {_WITHOUT}"
            )
        self.backend.encode_special_tokens = False
        try:
            before, after = (self.backend.encode(part, add_special_tokens=False).ids for part in parts)
        finally:
            self.backend.encode_special_tokens = True
        return before, after, parts[1].rstrip()

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, control tokens shown by name. Bytes that are no UTF-8 become U+FFFD, unknown ids nothing."""
        return self.backend.decode(list(ids), skip_special_tokens=False)

    def decode_response(self, ids: Sequence[int]) -> str:
        """Text of ids that follow a prompt; `decode` drops the space that a SentencePiece text begins with."""
        return self.decode([*self.anchor_ids, *ids])[len(self.decode(self.anchor_ids)) :]


def load_tokenizer(
    path: str | Path, model_config: ModelConfig | None = None, masked_tokens: Sequence[str] = ()
) -> Tokenizer:
    """Reads the tokenizer of a Hugging Face directory: tokenizer.json, or what transformers.AutoTokenizer converts.

    `eos_ids` are the tokenizer's end token and, with `model_config`, the model's. `masked_tokens` are added tokens
    that the model was never trained on, such as a base Qwen3's "<think>": text that holds one is spelt out, and
    `masked_ids` has their ids.

    Raises:
      FileNotFoundError: no tokenizer files, with the command that downloads them.
      ValueError: unreadable files, a tokenizer without an end token, ids beyond the model's vocabulary, an end token
        that the model does not have, or a masked token that is none, naming both and the fix.
    """
    path = Path(path)
    backend, names = _backend(path)
    # A tokenizer.json may set truncation and padding; a prompt is never cut here.
    backend.no_truncation()
    backend.no_padding()
    added = {token.content: token_id for token_id, token in backend.get_added_tokens_decoder().items()}
    unknown = [token for token in masked_tokens if token not in added]
    if unknown:
        raise ValueError(
            f"model.masked_tokens: {unknown[0]!r} is no added token of {path}; its added tokens are "
            f"{', '.join(sorted(added)) or 'none'}"
        )
    _spell_out_control_tokens(backend, masked_tokens)
    vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
    eos_id = _id(backend, names, "eos_token", path)
    pad_id = _id(backend, names, "pad_token", path)
    if eos_id is None and model_config is not None and model_config.eos_ids:
        eos_id = model_config.eos_ids[0]
    if eos_id is None:
        raise ValueError(f"{path}: tokenizer_config.json names no eos_token; add the model's, such as <|endoftext|>")
    if model_config is not None:
        _check_fits(path, model_config, vocab_size, eos_id)
    eos_ids = frozenset({eos_id, *(model_config.eos_ids if model_config is not None else ())})
    masked_ids = tuple(sorted(added[token] for token in masked_tokens))
    if eos_ids & set(masked_ids):
        raise ValueError(
            f"model.masked_tokens={tuple(masked_tokens)!r} holds an end token of {path}: leave it out, or no response "
            "would end"
        )
    return Tokenizer(
        backend=backend,
        eos_ids=eos_ids,
        pad_id=eos_id if pad_id is None else pad_id,
        vocab_size=vocab_size,
        bos_id=_id(backend, names, "bos_token", path),
        prefix_ids=_prefix(backend),
        anchor_ids=_anchor(backend),
        masked_ids=masked_ids,
        chat_template=_chat_template(path, names),
        named=tuple((key, text) for key in ("bos_token", "eos_token", "pad_token") if (text := _text(names, key))),
        source=str(path),
    )


def _backend(path: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    if (path / "tokenizer.json").is_file():
        return _from_json(path)
    if any((path / name).is_file() for name in ("tokenizer.model", "vocab.json")):
        return _from_transformers(path)
    raise FileNotFoundError(
        f"{path} holds no tokenizer.json, tokenizer.model or vocab.json. Download the model's tokenizer there: "
        f"`{download_command(path)}`"
    )


def _chat_template(path: Path, names: dict[str, Any]) -> str:
    """The text of chat_template.jinja, or of tokenizer_config.json: one template, or a list that names a default."""
    if (path / _CHAT_FILE).is_file():
        try:
            return (path / _CHAT_FILE).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path / _CHAT_FILE}: not UTF-8 ({error}); download it again") from None
    template = names.get("chat_template")
    if isinstance(template, list):
        by_name = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = by_name.get("default")
    return template if isinstance(template, str) else ""


def _rendered(tokenizer: Tokenizer, message: str) -> str:
    if not tokenizer.chat_template:
        raise ValueError(
            f"{tokenizer.source} has no chat template ({_CHAT_FILE}, or chat_template in tokenizer_config.json): "
            f"{_WITHOUT}, or use the model's instruct version"
        )
    import jinja2  # these two here: they take a second to import, and few runs need them
    from transformers.utils import chat_template_utils

    named: dict[str, Any] = dict(tokenizer.named)
    try:
        rendered: Any = chat_template_utils.render_jinja_template(
            [[{"role": "user", "content": message}]],
            chat_template=_on_that_day(tokenizer.chat_template),
            add_generation_prompt=True,
            **named,
        )
    except (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{tokenizer.source}: the chat template refuses a user's message ({type(error).__name__}: {error}); "
            f"{_WITHOUT}, or correct the template"
        ) from error
    texts = rendered[0] if isinstance(rendered, tuple) else rendered
    return texts if isinstance(texts, str) else texts[0]


def _on_that_day(template: str) -> str:
    """The template with a function strftime_now of its own, for which today is `_TODAY`."""
    if "strftime_now" not in template:
        return template
    replaced = "".join(f".replace('%{word}', '{_TODAY.strftime(f'%{word}')}')" for word in _DATE_WORDS)
    return f"{{%- macro strftime_now(form) -%}}{{{{ form{replaced} }}}}{{%- endmacro +%}}{template}"


def _prefix(backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """The tokens that the post-processor puts before a text."""
    whole, plain = (backend.encode("a", add_special_tokens=added).ids for added in (True, False))
    count = next((at for at in range(len(whole) + 1) if whole[at : at + len(plain)] == plain), 0)
    return tuple(whole[:count])


def _anchor(backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """Tokens of a text, if the tokens after them decode differently without them; else none."""
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
    except Exception as error:  # each converter raises its own kind
        raise ValueError(
            f"{path}: its tokenizer can't be read ({type(error).__name__}: {error}); download its files again"
        ) from error
    backend = getattr(converted, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"{path}: transformers reads this tokenizer only with Python code ({type(converted).__name__}); write a "
            "tokenizer.json with transformers' save_pretrained of its fast version"
        )
    names = {key: getattr(converted, key, None) for key in ("eos_token", "pad_token", "bos_token", "chat_template")}
    return backend, names


def _spell_out_control_tokens(backend: tokenizers.Tokenizer, masked_tokens: Sequence[str]) -> None:
    """Makes `encode` treat control tokens and masked tokens in text as plain text."""
    tokens = [token for token in backend.get_added_tokens_decoder().values() if not token.special]
    control = [token for token in tokens if token.content in masked_tokens or _CONTROL.fullmatch(token.content)]
    for token in control:
        token.special = True
    backend.add_special_tokens(control)
    backend.encode_special_tokens = True


def _text(names: dict[str, Any], key: str) -> str | None:
    """A token that tokenizer_config.json names as text or as {"content": text}; None for one that is neither."""
    token = names.get(key)
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _id(backend: tokenizers.Tokenizer, names: dict[str, Any], key: str, path: Path) -> int | None:
    """The id of a token that tokenizer_config.json names."""
    token, content = names.get(key), _text(names, key)
    if content is None and (token is None or (isinstance(token, dict) and token.get("content") is None)):
        return None
    if content is None:
        raise ValueError(f"{path}: {key} of tokenizer_config.json is {token!r:.60}, not text; download it again")
    token_id = backend.token_to_id(content)
    if token_id is None:
        raise ValueError(
            f"{path}: {key} {content!r} of tokenizer_config.json is not in the vocabulary; download it again"
        )
    return token_id
