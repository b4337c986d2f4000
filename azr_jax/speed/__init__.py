"""How fast the engine is: `python -m azr_jax.speed {sampler,update,step} --json`; see docs/results/speed.md."""
