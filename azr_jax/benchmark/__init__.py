"""How fast the engine is: `python -m azr_jax.benchmark {sampler,update,step} --json`; see docs/benchmarks.md."""
