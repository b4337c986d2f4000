"""Everything a run keeps on disk, each fact in one place."""
