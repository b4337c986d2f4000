"""The same update in PyTorch: transformers' Qwen2 with gradient checkpointing and AdamW, in a process of its own.

A process of its own, since two frameworks cannot share a GPU's memory. It is given every ease: bfloat16 weights and
moments (the learner keeps float32), fused AdamW on a GPU, flash attention, logits in checkpointed chunks.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from typing import Any

_REPEATS = 3
# name: widths of a Qwen2Config, tokens of a sequence, sequences, tokens of a chunk of logits
_WORKLOADS: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "full": (
        {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
        },
        2048,
        8,
        1024,
    ),
    "small": (
        {
            "vocab_size": 2048,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        128,
        16,
        512,
    ),
}


def run(size: str) -> dict[str, Any]:
    """{"tokens_per_s", "model_tflops", ...}, or {"missing": why} where it cannot run."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return {"missing": "torch or transformers is not installed"}
    command = [sys.executable, "-m", "azr_jax.speed.peer", size]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(size: str) -> dict[str, Any]:
    """The peer's figures on this machine; "auto" is full where torch has a GPU."""
    import torch
    import transformers
    from torch.utils.checkpoint import checkpoint

    on_gpu = torch.cuda.is_available()
    if size == "full" and not on_gpu:
        raise ValueError("torch has no GPU here")
    name = "full" if on_gpu and size != "small" else "small"
    widths, length, count, chunk = _WORKLOADS[name]
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    config = transformers.Qwen2Config(**widths, tie_word_embeddings=True, use_cache=False)
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = transformers.Qwen2ForCausalLM(config)
    model = model.to(dtype)
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=on_gpu)
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
        parts = zip(hidden.split(chunk), targets.split(chunk), weights.split(chunk), strict=True)
        losses = [checkpoint(loss_of, *part, use_reentrant=False) for part in parts]
        (torch.stack(losses).sum() / targets.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    update()
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        update()
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    seconds = sorted(taken)[len(taken) // 2]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    attention = 6.0 * widths["num_hidden_layers"] * widths["hidden_size"] * length**2 * count
    return {
        "what": f"transformers {transformers.__version__}, torch {torch.__version__}, {device}, {dtype}",
        "size": name,
        "tokens": length,
        "sequences": count,
        "tokens_per_s": length * count / seconds,
        "model_tflops": (6.0 * parameters * length * count + attention) / seconds / 1e12,
    }


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(measure(sys.argv[1])) + "\n")
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
