"""Benchmark problems: reading, checking and finding their files, and their tensorflow-datasets builders. No jax."""
