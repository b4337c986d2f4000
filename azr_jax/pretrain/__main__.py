"""Makes the embedded model and its problem sets: `python -m azr_jax.pretrain --config=configs/tiny.py`.

Writes a Hugging Face directory (azr-tiny), heldout_LANGUAGE.jsonl and validation_LANGUAGE.jsonl, and pretrain.json with
the settings, the losses and the time, into `config.pretrain.output`. `--problems=lua` writes only the problem sets of a
language that is not in the pretraining, with the same programs as the other languages' sets.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from azr_jax.config import from_mapping
from azr_jax.devices import prepare
from azr_jax.flags import run

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration, for its pretrain.* (default: tiny)")
_PROBLEMS = flags.DEFINE_string("problems", "", "Write only the problem sets of this language, such as lua.")


def main(argv: Sequence[str]) -> None:
    """Reads flags and settings, then makes the model, or only the problem sets."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: settings are --config.KEY=VALUE")
    try:
        config = from_mapping(_CONFIG.value.to_dict())
    except ValueError as error:
        sys.exit(f"error: {error}")
    language = _PROBLEMS.value
    if language and language in config.pretrain.languages:
        raise app.UsageError(f"--problems={language}: a pretraining language; its problems come with the model")
    prepare()
    from azr_jax.pretrain import making  # imports jax

    try:
        if language:
            making.make_problems(config, language)
        else:
            making.make_model(config)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    run(main, "azr_jax.pretrain", default="tiny")
