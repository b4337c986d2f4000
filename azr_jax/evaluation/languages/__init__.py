"""What benchmarks need to know of a language: its suffix in MultiPL-E, the form of its tests, its comparison."""
