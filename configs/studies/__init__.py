"""Studies: grids of runs for `python -m azr_jax.study`."""
