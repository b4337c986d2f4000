"""From completions to judgements: which programs run in the executors, and what says that a completion passes."""
