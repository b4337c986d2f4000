"""From completions to judgements: which programs the executors run, and when a completion passes."""
