"""The speed commands' peer is compared with where it did the same work; jax's own settings are left to the user."""

from __future__ import annotations

import os

import pytest

from azr_jax.speed import __main__ as command
from azr_jax.speed.sizes import FULL, SMALL
from azr_jax.speed.update import beside_peer


def test_only_a_peer_of_the_same_size_is_compared_with():
    """A torch without CUDA beside a jax that has it gave a ratio of an H100 over a CPU."""
    peer = {"size": "small", "model_tflops": 0.02}
    assert beside_peer(450.0, FULL, peer) == {}
    assert beside_peer(0.04, SMALL, peer) == {"over_peer": 2.0}
    assert beside_peer(450.0, FULL, {"missing": "torch has no GPU here"}) == beside_peer(450.0, FULL, None) == {}


@pytest.mark.parametrize(("given", "expected"), [({}, "0.95"), ({"XLA_CLIENT_MEM_FRACTION": "0.5"}, None)])
def test_a_gpu_s_share_is_set_unless_the_user_did(monkeypatch, given, expected):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "unset")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr(command, "_run", lambda _: seen.append(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION")) or {})
    assert command.main(["sampler"]) == 0
    assert seen == [expected]
