"""What hosts agree on, and the flags that say which hosts there are."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from conftest import small_config
from thread_hosts import on_all, open_hosts

from azr_jax.checkpoint import open_on_all_hosts
from azr_jax.hosts.hosts import Hosts, connect, is_tpu_machine


@pytest.fixture
def hosts() -> list[Hosts]:
    return open_hosts(3)


def test_one_host_agrees_with_itself():
    alone = connect()
    assert (alone.index, alone.count, alone.are_many, alone.is_first) == (0, 1, False, True)
    assert connect(num_processes=1, process_id=0) == alone
    assert alone.exchange("x", ("kept", "as it is")) == [("kept", "as it is")]
    assert alone.first("x", lambda: 5) == 5
    assert alone.any("x", True) and not alone.any("x", False)
    with pytest.raises(OSError, match="full"):
        alone.together("x", lambda: (_ for _ in ()).throw(OSError("full")))
    with alone:
        pass


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"coordinator_address": "a:1"}, "--num_processes, --process_id is missing"),
        ({"num_processes": 2, "process_id": 1}, "--coordinator_address is missing"),
        ({"coordinator_address": "a:1", "num_processes": 2}, "--process_id is missing"),
        ({"coordinator_address": "a", "num_processes": 2, "process_id": 0}, "='a': must be HOST:PORT"),
        ({"coordinator_address": "a:b", "num_processes": 2, "process_id": 0}, "='a:b': must be HOST:PORT"),
        ({"coordinator_address": "a:1", "num_processes": 2, "process_id": 2}, "numbered from 0 to"),
        ({"coordinator_address": "a:1", "num_processes": -3, "process_id": 0}, "numbered from 0 to"),
    ],
)
def test_flags_that_do_not_fit_are_named(flags, words):
    with pytest.raises(ValueError, match=words):
        connect(**flags)


@pytest.mark.parametrize(
    ("files", "platforms", "expected"),
    [
        ((), "", False),
        (("accel0", "accel1"), "", True),
        (("vfio/0", "vfio/vfio"), "", True),
        (("vfio/vfio",), "", False),
        (("accel0",), "cpu", False),
        (("accel0",), "tpu,cpu", True),
    ],
)
def test_a_tpu_is_known_by_its_devices(tmp_path, monkeypatch, files, platforms, expected):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert is_tpu_machine(tmp_path) == expected
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not is_tpu_machine(tmp_path)


def test_the_first_host_decides_and_any_host_may_stop(hosts):
    decided = on_all(hosts, lambda host: host.first("seed", lambda: [host.index, "mine"]))
    assert decided == [[0, "mine"]] * 3
    assert on_all(hosts, lambda host: host.any("stop", host.index == 2)) == [True] * 3
    assert on_all(hosts, lambda host: host.any("stop", False)) == [False] * 3


def test_what_fails_on_one_has_failed_on_all(hosts):
    def act(host: Hosts) -> str:
        def write() -> None:
            if host.index == 1:
                raise OSError("disk full")

        try:
            host.together("save", write)
        except (OSError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"
        return "saved"

    told = "RuntimeError: on host 1 of 3: disk full"
    assert on_all(hosts, act) == [told, "OSError: disk full", told]
    assert on_all(hosts, lambda host: host.together("save", lambda: None)) == [None] * 3


def test_a_workdir_that_a_host_does_not_see_is_an_error(hosts, tmp_path, monkeypatch):
    monkeypatch.setattr("azr_jax.workdir.opening._SEEN_S", 0.2)
    config = small_config()
    shared = tmp_path / "shared"
    assert on_all(hosts, lambda host: open_on_all_hosts(shared, config, False, host)) == [None] * 3
    assert sorted(path.name for path in shared.iterdir()) == ["config.json"]
    # A folder of the same name and content on a disk of its own.
    shutil.copytree(shared, tmp_path / "own")
    places = [shared, shared, tmp_path / "own"]
    for error in on_all(hosts, lambda host: open_on_all_hosts(places[host.index], config, False, host)):
        assert isinstance(error, ValueError) and "hosts [2] don't see what host 0 writes there" in str(error)
    assert sorted(path.name for path in shared.iterdir()) == ["config.json"]


def test_another_mesh_is_no_other_run(tmp_path):
    config = small_config()
    open_on_all_hosts(tmp_path, config, False, Hosts())
    (tmp_path / "checkpoints").mkdir()
    other = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, fsdp=1, tensor=2))
    open_on_all_hosts(tmp_path, other, False, Hosts())
    with pytest.raises(ValueError, match=r"learner\.lr"):
        changed = dataclasses.replace(other, learner=dataclasses.replace(config.learner, lr=1.0))
        open_on_all_hosts(tmp_path, changed, False, Hosts())
