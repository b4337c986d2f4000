"""A grid of runs (arm x seed x language), one after another or in parallel, and their joint statistics. No jax.

`python -m azr_jax.study --study=configs/studies/learning_tiny.py --seeds=3`
"""
