"""The old name of `azr_jax.speed`, kept so that commands written down elsewhere go on working."""
