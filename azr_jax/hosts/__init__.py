"""Several hosts that take part in one run."""
