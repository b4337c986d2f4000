"""`Request`: one prompt to be sampled once; only its id chooses its random stream."""

from __future__ import annotations

import dataclasses
import hashlib

from azr_jax.config import SamplerSettings


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One sample to draw.

    `id` is unique in a session. `max_tokens` counts generated tokens, the stop token included. `temperature` 0 is
    greedy. Generation ends at the tokenizer's end tokens, at the first of the `stop` strings, or at `max_tokens`. The
    token that completes a stop string is the last; the text ends before the string, or with `keeps_stop` is that of
    all tokens. Requests with equal `prompt_ids` that wait together share one prefill.
    """

    id: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float
    stop: tuple[str, ...] = ()
    keeps_stop: bool = False


def samples_of(request: Request, count: int) -> tuple[Request, ...]:
    """`count` requests for the same prompt, with ids `<id>/0`, `<id>/1`, ..."""
    return tuple(dataclasses.replace(request, id=f"{request.id}/{index}") for index in range(count))


def id_words(request_id: str) -> tuple[int, int]:
    """The low and high 32 bits of a hash of the id that is the same in every process (BLAKE2b, 64 bits)."""
    digest = hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def check(request: Request, settings: SamplerSettings, vocab_size: int) -> None:
    """Raises ValueError, naming the request, if the sampler's lengths or the vocabulary do not allow it."""
    name = f"request {request.id!r}"
    if not request.prompt_ids:
        raise ValueError(f"{name}: prompt_ids is empty; a prompt needs at least one token")
    if len(request.prompt_ids) > settings.max_prompt_tokens:
        raise ValueError(
            f"{name}: the prompt has {len(request.prompt_ids)} tokens, more than sampler.max_prompt_tokens="
            f"{settings.max_prompt_tokens}; leave it out or raise the setting"
        )
    if not 1 <= request.max_tokens <= settings.max_response_tokens:
        raise ValueError(
            f"{name}: max_tokens={request.max_tokens} must be from 1 to sampler.max_response_tokens="
            f"{settings.max_response_tokens}"
        )
    if not 0.0 <= request.temperature < float("inf"):
        raise ValueError(f"{name}: temperature={request.temperature} must be finite and at least 0 (0 is greedy)")
    if not all(request.stop):
        raise ValueError(f"{name}: stop={request.stop!r} holds an empty string; leave it out")
    if not 0 <= min(request.prompt_ids) <= max(request.prompt_ids) < vocab_size:
        raise ValueError(f"{name}: a prompt token is outside the vocabulary of {vocab_size}; use the model's tokenizer")
