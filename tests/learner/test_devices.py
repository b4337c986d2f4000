"""The update on eight forced CPU devices gives the update on one. Each count is a process: it is fixed at start."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import on_devices

PROGRAM = """
import sys
import jax
import numpy as np
from learner.tiny_learner import batches, leaves, settings, transformer
from azr_jax.learner.update import make_learner
from azr_jax.model.sharding import make_mesh

folder, devices, *meshes = sys.argv[1:]
assert len(jax.devices()) == int(devices)
for name in meshes:
    mesh = make_mesh(*map(int, name.split("x")))
    graphdef, params = transformer(mesh=mesh)
    chosen = settings(lr=1.0, epsilon=1.0, rows_per_microbatch=8, epochs=2, kl_coef=0.1,
                      ratio="sequence", importance="sequence_mask")
    learner = make_learner(graphdef, params, chosen, mesh)
    state, metrics = learner.update(learner.init(params), *batches(24, 2, rows_multiple=8))
    sharded = state.params["layers"]["gate_LDF"][...]
    np.savez(f"{folder}/{name}.npz", *leaves((state.params, state.opt_state)),
             metrics=np.array([metrics[k] for k in sorted(metrics)]),
             shard=np.array(sharded.addressable_shards[0].data.shape), whole=np.array(sharded.shape))
"""
# Every split into powers of two; the model has two key-value heads.
MESHES = ("8x1x1", "1x8x1", "4x2x1", "2x4x1", "4x1x2", "1x4x2", "2x2x2")


def run(folder: pathlib.Path, devices: int, *meshes: str) -> dict[str, dict[str, np.ndarray]]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(devices), *meshes]
    done = subprocess.run(command, env=on_devices(devices), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return {name: dict(np.load(folder / f"{name}.npz")) for name in meshes}


@pytest.mark.ci
def test_eight_devices_equal_one(tmp_path):
    single = run(tmp_path, 1, "1x1x1")["1x1x1"]
    arrays = [name for name in single if name not in ("shard", "metrics")]
    assert len(arrays) > 30
    for mesh, eight in run(tmp_path, 8, *MESHES).items():
        _, fsdp, tensor = map(int, mesh.split("x"))
        # fsdp splits D and tensor splits F: no device holds a whole matrix.
        assert eight["shard"].tolist() == [eight["whole"][0], eight["whole"][1] // fsdp, eight["whole"][2] // tensor]
        for name in arrays:
            np.testing.assert_allclose(eight[name], single[name], atol=1e-5, rtol=1e-5, err_msg=f"{mesh} {name}")
        np.testing.assert_allclose(eight["metrics"], single["metrics"], rtol=1e-5, atol=1e-5, err_msg=mesh)


def test_rows_that_do_not_split_over_the_mesh_are_an_error(tmp_path):
    program = PROGRAM.replace("rows_per_microbatch=8", "rows_per_microbatch=3")
    command = [sys.executable, "-c", program, str(tmp_path), "4", "1x4x1"]
    done = subprocess.run(command, env=on_devices(4), capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "learner.rows_per_microbatch=3 is not a multiple of data x fsdp = 1 x 4" in done.stderr
