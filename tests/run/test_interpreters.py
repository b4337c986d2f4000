"""The languages of a run: what is refused at its start."""

import dataclasses

import pytest
from conftest import small_config

from azr_jax.run.interpreters import run_languages
from executors import LANGUAGES


def test_composites_need_definitions_of_functions(monkeypatch):
    python = LANGUAGES["python"]
    assert run_languages(small_config(selfplay__composite_share=0.5)) == {"python": python}
    for changes in ({"definition": ""}, {"name": "unheard-of"}):
        other = dataclasses.replace(python, **changes)
        monkeypatch.setitem(LANGUAGES, other.name, other)
        named = {"languages": (other.name,)}
        assert run_languages(small_config(**named)) == {other.name: other}
        with pytest.raises(ValueError, match=r"selfplay\.composite_share=0\.5: functions of .* can't be renamed"):
            run_languages(small_config(selfplay__composite_share=0.5, **named))
        monkeypatch.undo()
