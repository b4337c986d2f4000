"""Run configurations: `base.py` names every key once; each other file overrides some and says why in its docstring."""
