"""What a person sees of a run: its display, alerts, where time and memory go, and the status command."""
