"""A grid of runs (arm x seed x language), one after another or side by side, and what they say together. No jax.

`python -m azr_jax.study --study=configs/studies/learning_tiny.py --seeds=3`
"""
