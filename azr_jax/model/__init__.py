"""The language model (Qwen2, Llama) in Flax NNX: configuration, forward passes, weights, tokenizer, sharding."""
