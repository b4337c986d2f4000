"""Ahead-of-time compilation of a run's programs for absent TPU slices or GPUs: memory, work, collectives.

python -m azr_jax.plan --config=configs/racket.py --topology=v5e:4x4 [--json]
"""
