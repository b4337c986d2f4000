"""How a user watches a run: display, alerts, time and memory, the status command."""
