"""The same work in PyTorch, in a separate process: transformers' generate, and an update of its model.

Two frameworks cannot share a GPU's memory. The update has every advantage: bfloat16 weights and moments on a GPU (the
learner keeps float32), fused AdamW there, flash attention, logits in checkpointed chunks.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

_REPEATS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """The measured sizes. `widths` are a Qwen2Config's, or empty for a model's directory."""

    widths: dict[str, Any]
    update_tokens: int
    sequences: int
    logit_chunk: int
    prompts: int
    prompt_tokens: int


def _widths(vocab_size: int, hidden: int, ffn: int, layers: int, heads: int, kv_heads: int) -> dict[str, Any]:
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }


# By the name of a size in sizes.py, which is not imported here: it imports jax.
_WORKLOADS = {
    "full": Workload(_widths(151936, 2048, 11008, 36, 16, 2), 2048, 8, 1024, 64, 512),
    "small": Workload(_widths(2048, 128, 384, 4, 4, 2), 128, 16, 512, 64, 64),
    "tiny": Workload(_widths(2048, 32, 64, 1, 4, 2), 32, 2, 64, 8, 16),
    "model": Workload({}, 256, 4, 512, 16, 128),
}


def run(what: str, size: str, path: str = "") -> dict[str, Any]:
    """The peer's figures of "sampler" or "update", or {"missing": why} if it cannot run."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return {"missing": "torch or transformers is not installed"}
    command = [sys.executable, "-m", "azr_jax.speed.peer", what, "model" if path else size, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(what: str, size: str, path: str) -> dict[str, Any]:
    """The figures on this machine; size "auto" is full if torch has a GPU.

    Raises:
      ValueError: full size without a GPU.
    """
    import torch
    import transformers

    on_gpu = torch.cuda.is_available()
    if size == "full" and not on_gpu:
        raise ValueError("torch has no GPU here")
    name = size if size in ("small", "tiny", "model") else "full" if on_gpu else "small"
    workload = _WORKLOADS[name]
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    torch.manual_seed(0)
    if path:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype, use_safetensors=True)
        model = model.to(device)
    else:
        config = transformers.Qwen2Config(**workload.widths, tie_word_embeddings=True)
        with torch.device(device):
            model = transformers.Qwen2ForCausalLM(config)
        model = model.to(dtype)
    figures = {
        "what": f"transformers {transformers.__version__}, torch {torch.__version__}, {device}, {dtype}",
        "size": name,
    }
    return figures | {"sampler": _generate, "update": _update}[what](model, workload, device)


def _generate(model: Any, workload: Workload, device: str) -> dict[str, Any]:
    """Prompts of one length and as many new tokens each, sampled at temperature 1."""
    import torch

    count, tokens = workload.prompts, workload.prompt_tokens
    ids = torch.randint(0, model.config.vocab_size, (count, tokens), device=device)

    def generate() -> None:
        with torch.inference_mode():
            sampled = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=0,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                pad_token_id=0,
            )
        if sampled.shape != (count, 2 * tokens):
            raise ValueError(f"generate gave {tuple(sampled.shape)} instead of {(count, 2 * tokens)}")

    return {"prompts": count, "new_tokens": tokens, "tokens_per_s": count * tokens / _median_s(generate)}


def _update(model: Any, workload: Workload, device: str) -> dict[str, Any]:
    """Policy-gradient steps with gradient checkpointing and AdamW."""
    import torch
    from torch.utils.checkpoint import checkpoint

    length, count, config = workload.update_tokens, workload.sequences, model.config
    model.config.use_cache = False
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=device == "cuda")
    ids = torch.randint(0, config.vocab_size, (count, length), device=device)
    advantages = torch.where(torch.arange(count, device=device) % 2 == 0, 1.0, -1.0)

    def loss_of(hidden: Any, targets: Any, weights: Any) -> Any:
        logits = model.lm_head(hidden).float()
        logprobs = logits.gather(-1, targets[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
        return -(logprobs * weights).sum()

    def update() -> None:
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1].reshape(-1, config.hidden_size)
        targets = ids[:, 1:].reshape(-1)
        weights = advantages[:, None].expand(count, length - 1).reshape(-1)
        chunk = workload.logit_chunk
        parts = zip(hidden.split(chunk), targets.split(chunk), weights.split(chunk), strict=True)
        losses = [checkpoint(loss_of, *part, use_reentrant=False) for part in parts]
        (torch.stack(losses).sum() / targets.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    seconds = _median_s(update)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 6.0 * config.num_hidden_layers * config.num_attention_heads * head_dim * length**2 * count
    return {
        "tokens": length,
        "sequences": count,
        "tokens_per_s": length * count / seconds,
        "model_tflops": (6.0 * parameters * length * count + attention) / seconds / 1e12,
    }


def _median_s(run_once: Callable[[], None]) -> float:
    """Median seconds of _REPEATS calls after one that is not counted."""
    import torch

    run_once()
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        run_once()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(measure(*sys.argv[1:4])) + "\n")
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(str(error))
