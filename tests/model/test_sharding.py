import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from conftest import on_devices

from azr_jax.model.configuration import FAMILIES
from azr_jax.model.sharding import (
    MESH_AXES,
    PARAM_AXES,
    check_batch,
    check_divisible,
    leaf_name,
    make_mesh,
    param_shardings,
)
from azr_jax.model.transformer import abstract

from .tiny import QWEN


def _run_eight_devices(tmp_path_factory, kernel):
    """The results of eight_devices.py."""
    output = tmp_path_factory.mktemp("eight") / "result.json"
    program = Path(__file__).with_name("eight_devices.py")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:jax", str(program), str(output), kernel],
        env=on_devices(8),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory):
    return _run_eight_devices(tmp_path_factory, "xla")


def _assert_equal_to_one_device(result, layout):
    assert result["devices"] == 8
    assert result["gradient_scale"] > 1e-2
    assert result[f"{layout} params"] == 0.0
    assert result[f"{layout} loss"] < 1e-5
    if layout == "mesh":
        assert result["mesh gradient"] < 1e-4 * result["gradient_scale"]
    assert result[f"{layout} hidden"] < 1e-4
    assert result[f"{layout} keys"] < 1e-4


@pytest.mark.ci
@pytest.mark.parametrize("layout", ["mesh", "serving"])
def test_eight_devices_give_the_results_of_one(eight_devices, layout):
    _assert_equal_to_one_device(eight_devices, layout)


@pytest.mark.slow
def test_splash_on_a_mesh_gives_the_results_of_one_device(tmp_path_factory):
    _assert_equal_to_one_device(_run_eight_devices(tmp_path_factory, "splash"), "mesh")


@pytest.mark.ci
def test_weights_lie_in_parts_and_come_back_from_a_sharded_export(eight_devices):
    assert eight_devices["shard_fraction"] == 1 / 4  # fsdp x tensor
    assert eight_devices["files"] > 2
    assert eight_devices["loaded_as_initialised"]
    assert eight_devices["loaded"] == 0.0


def test_every_parameter_has_a_rule_of_its_rank():
    mesh = make_mesh(1, 1, 1, devices=jax.devices()[:1])
    names = set()
    for family in FAMILIES:
        _, shapes = abstract(dataclasses.replace(QWEN, family=family, tie_embeddings=False))
        shardings = jax.tree.leaves(param_shardings(shapes, mesh, QWEN))
        for (path, shape), sharding in zip(jax.tree_util.tree_leaves_with_path(shapes), shardings, strict=True):
            assert len(sharding.spec) == len(shape.shape)
            names.add(leaf_name(path))
    assert names == set(PARAM_AXES)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((3, -1, 1), ["'data' is 3", "[1, 2, 4, 8]"]),
        ((-1, -1, 1), ["['data', 'fsdp']", "-1"]),
        ((0, -1, 1), ["'data' is 0"]),
        ((4, -1, 4), ["needs 16 devices", "there are 8"]),
        ((2, 2, 1), ["needs 4 devices", "there are 8", "=-1"]),
    ],
)
def test_mesh_errors_name_axis_and_divisors(sizes, words):
    with pytest.raises(ValueError) as error:
        make_mesh(*sizes, devices=list(range(8)))
    for word in words:
        assert word in str(error.value)


def test_sizes_that_do_not_divide_are_refused_at_the_start():
    mesh = jax.sharding.AbstractMesh((2, 3, 4), MESH_AXES)
    with pytest.raises(ValueError, match=r"'tensor' is 4.*kv_heads=2.*\[1, 2\]"):
        check_divisible(QWEN, mesh)
    with pytest.raises(ValueError, match=r"'fsdp' is 3.*embed_dim=32.*\[1, 2, 4, 8, 16, 32\]"):
        check_divisible(dataclasses.replace(QWEN, kv_heads=4), mesh)
    with pytest.raises(ValueError, match=r"slots=7.*2 x 3.*12"):
        check_batch(7, mesh, "slots")
    check_batch(12, mesh, "slots")
