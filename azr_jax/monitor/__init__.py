"""What a user sees of a run: display, alerts, use of time and memory, and the status command."""
