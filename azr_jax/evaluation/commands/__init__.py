"""The subcommands of `python -m azr_jax.evaluation`."""
