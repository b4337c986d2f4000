"""Self-play reinforcement learning of code language models for low-resource programming languages, in JAX."""

from executors import interruption

interruption.expect()
