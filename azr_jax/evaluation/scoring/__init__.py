"""From a model to scores: prompts, samples, results on disk, pass@k, and the scores of a run in training."""
