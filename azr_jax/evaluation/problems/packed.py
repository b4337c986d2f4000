"""Tests as LiveCodeBench publishes them: JSON text, or that text pickled, compressed by zlib and written in base64."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import json
import pickletools
import zlib
from typing import Any

# LiveCodeBench's largest has some hundred MB. Unpacking takes about twice this much memory.
_MOST_BYTES = 1 << 29
_AROUND_A_TEXT = ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP")

Pairs = tuple[tuple[str, str], ...]


class CallsFunctionError(ValueError):
    """A test that calls a function instead of reading standard input."""


@dataclasses.dataclass(frozen=True, slots=True)
class Packed:
    """Texts of tests, which are read each time: all tests of LiveCodeBench take 8 GB."""

    texts: tuple[str, ...]

    @property
    def pairs(self) -> Pairs:
        """As `pairs_of`."""
        return pairs_of(self.texts)


# The samples of a problem come close together.
@functools.lru_cache(maxsize=4)
def pairs_of(texts: tuple[str, ...]) -> Pairs:
    """(input, output) of each test in each of the texts.

    Raises:
      CallsFunctionError: a test that calls a function instead of reading standard input.
      ValueError: damaged, too large, or no texts.
    """
    pairs = []
    for text in texts:
        tests = _unpacked(text)
        if not isinstance(tests, list):
            raise ValueError(f"tests are {tests!r:.60}, not a list")
        for test in tests:
            if not isinstance(test, dict) or not all(isinstance(test.get(key), str) for key in ("input", "output")):
                raise ValueError(f"a test is {test!r:.60}: each has two texts, input and output")
            if test.get("testtype", "stdin") != "stdin":
                raise CallsFunctionError(
                    f"a test is of the type {test['testtype']!r}, which calls a Python function: leave the problem out"
                )
            pairs.append((test["input"], test["output"]))
    return tuple(pairs)


def _unpacked(text: str) -> Any:
    if text.lstrip()[:1] in ("[", "{", ""):
        return _json(text or "[]")
    try:
        unzip = zlib.decompressobj()
        data = unzip.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        if unzip.unconsumed_tail:
            raise ValueError(f"packed tests have more than {_MOST_BYTES >> 20} MiB: leave out the problem, or some")
        if not unzip.eof:
            raise EOFError("they end early")
        return _json(_pickled_text(data))
    except (binascii.Error, zlib.error, EOFError) as error:
        raise ValueError(f"tests are neither JSON nor packed as LiveCodeBench packs them: {error}") from None


def _pickled_text(data: bytes) -> str:
    """The text of a pickle that holds one text and nothing else; a pickle is never run."""
    texts = []
    for code, argument, _ in pickletools.genops(data):
        if code.name.endswith("UNICODE") or code.name == "BINUNICODE8":
            texts.append(argument)
        elif code.name not in _AROUND_A_TEXT:
            raise ValueError(f"packed tests hold {code.name} where LiveCodeBench has one text")
    if len(texts) != 1:
        raise ValueError(f"packed tests hold {len(texts)} texts, not one")
    return texts[0]


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"tests are no JSON: {error}") from None
