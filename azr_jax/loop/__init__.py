"""One step: its stages, the event loop between sampler and executors, its record, and its interruption."""
