"""The tiny model that the tests of the sampler share."""

import pytest

from .tiny import World, make_world


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()
