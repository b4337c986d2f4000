"""Prints what the compiler says each generation's chip has, in GiB: the message of a program that is far too large."""

from __future__ import annotations

import re
import sys

from azr_jax.plan import chips

chips.configure(chips.CHIPS["v5e"])

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.sharding import SingleDeviceSharding  # noqa: E402

from azr_jax.plan import build  # noqa: E402

for name, chip in chips.CHIPS.items():
    if chip.platform != "tpu":
        continue
    device = SingleDeviceSharding(build.topology_devices(f"{name}:{'2x2' if '2x2' in chip.shapes else '2x2x1'}")[0])
    tall = jax.ShapeDtypeStruct((300_000, 1024), jnp.float32, sharding=device)
    try:
        jax.jit(lambda a: jnp.sort(a @ a.T, axis=0) @ a).lower(tall).compile()
    except jax.errors.JaxRuntimeError as error:
        match = re.search(r"available HBM \(([\d.]+)G\)", str(error))
        sys.stdout.write(f"{name} {match.group(1) if match else error}\n")
