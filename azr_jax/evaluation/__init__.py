"""Scoring a model: held-out problems of the three task types, and benchmarks."""
