"""Opening, resuming, saving, scoring and ending a run."""
