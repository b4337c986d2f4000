"""The old name of `azr_jax.speed`, kept so that older commands work."""
