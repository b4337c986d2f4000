"""Self-play on text and numbers: prompts, answer parsing, buffers, validation and rewards. No jax."""
