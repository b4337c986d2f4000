"""Whether a run fits TPUs or GPUs and how long a step takes, without them: `python -m azr_jax.plan --config=FILE
--topology=v5e:4x4 [--lengths=WORKDIR] [--nocompile] [--json]`.

Simulates a step (takes seconds) and compiles the run's programs for these chips: with libtpu in minutes of one core
(`JAX_OPTIMIZATION_LEVEL=O0` takes a third of the time, with peaks that differ by about a tenth), with jax's CUDA plugin
in half a minute. Exits with 1 if the run does not fit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from azr_jax.config import from_mapping
from azr_jax.flags import run
from azr_jax.plan import chips
from azr_jax.plan.planning import make_plan

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, such as configs/racket.py.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "Chips and their shape, such as v5e:4x4 or h100:1.")
_LENGTHS = flags.DEFINE_string(
    "lengths",
    "",
    "Lengths of the simulated responses: MEDIAN,SIGMA of a log-normal (500,1 when empty), or a run's folder.",
)
_COMPILE = flags.DEFINE_bool("compile", True, "Compile the programs; --nocompile only simulates a step.")
_JSON = flags.DEFINE_bool("json", False, "Also write the plan as one JSON object, on the last line.")


def main(argv: Sequence[str]) -> None:
    """Plans, writes the tables, and ends with 1 if something does not fit."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: settings are --config.KEY=VALUE")
    if _CONFIG.value is None or _TOPOLOGY.value is None:
        raise app.UsageError("--config and --topology are needed: --config=configs/racket.py --topology=v5e:4x4")
    try:
        config = from_mapping(_CONFIG.value.to_dict())
        _, chip, _ = chips.parse(_TOPOLOGY.value)
        chips.configure(chip)
        planned = make_plan(config, _TOPOLOGY.value, _say, _LENGTHS.value, _COMPILE.value)
    except (ValueError, RuntimeError, OSError) as error:
        if logging.get_verbosity() >= logging.DEBUG:
            raise
        sys.exit(f"error: {error}")
    if _JSON.value:
        _say(json.dumps(planned))
    sys.exit(1 if planned["fits"] is False else 0)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main, "azr_jax.plan")
