"""A byte-level BPE tokenizer in Qwen2's format, trained on the corpus, saved as Hugging Face files."""

from __future__ import annotations

import inspect
import json
import random
import statistics
import textwrap
from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")
# Qwen2's own split (its tokenizer.json): digits stand alone, a mark may lead a word.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def general_text() -> list[str]:
    """Code and English from Python's own library: pieces for text that the corpus does not have."""
    return [line for module in (json, random, statistics, textwrap) for line in inspect.getsource(module).splitlines()]


def train(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """A tokenizer of exactly `vocab_size` tokens, all 256 bytes and the special tokens included.

    Raises:
      ValueError: the texts have too few different pieces for that many tokens.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Split(tokenizers.Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    if tokenizer.get_vocab_size() != vocab_size:
        raise ValueError(
            f"pretrain.vocab_size={vocab_size}: the corpus has pieces for {tokenizer.get_vocab_size()} tokens only;"
            " set pretrain.vocab_size to at most that"
        )
    return tokenizer


def end_id(tokenizer: tokenizers.Tokenizer) -> int:
    """The id of the token that ends a text."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    assert end is not None
    return end


def save(tokenizer: tokenizers.Tokenizer, directory: Path, max_positions: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json, as `AutoTokenizer.from_pretrained` reads them."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": max_positions,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "bos_token": None,
        "unk_token": None,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
        "errors": "replace",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
