"""Long runs do not grow."""

import inspect
import re

import endurance
import pytest
from endurance import CAPACITY, growth

from azr_jax.loop import play
from azr_jax.run import restoring

FULL = {"buffer/python/triplets_size": CAPACITY, "buffer/python/problems_size": CAPACITY}
FLAT = {"host/memory_mib": 900.0, "host/open_files": 50, "host/processes": 6, "time/cpu_s": 0.05, **FULL}


def rows(key: str, grown: float) -> list[dict]:
    return [FLAT | {key: FLAT[key] + grown * number / 100} for number in range(100)]


@pytest.mark.parametrize(
    ("key", "grown"), [("host/memory_mib", 60.0), ("host/open_files", 2), ("host/processes", 2), ("time/cpu_s", 0.06)]
)
def test_growth_is_seen_and_noise_is_not(key, grown):
    assert [trend.key for trend in growth(rows(key, grown)) if trend.grew] == [key]
    assert not [trend.key for trend in growth(rows(key, 0)) if trend.grew]


def test_too_few_steps_or_empty_buffers_give_no_verdict():
    with pytest.raises(ValueError, match="too few"):
        growth(rows("time/cpu_s", 0)[:40])
    with pytest.raises(ValueError, match="buffers are not full"):
        growth([row | {"buffer/python/problems_size": 3} for row in rows("time/cpu_s", 0)])


@pytest.mark.parametrize(
    ("name", "users", "fake", "needed"),
    [
        (r"_?session", (play.Player,), endurance.FakeSession, {"idle", "step", "submit"}),
        (r"(?:self|player)\.sampler", (play.Player, restoring), endurance.FakeSampler, {"session", "state_must_leave"}),
    ],
)
def test_the_fake_model_has_what_a_player_and_a_run_use(name, users, fake, needed):
    used = {attribute for user in users for attribute in re.findall(rf"\b{name}\.(\w+)", inspect.getsource(user))}
    assert needed <= used
    assert [attribute for attribute in used if not hasattr(fake, attribute)] == []


@pytest.mark.slow
def test_a_run_of_400_steps_does_not_grow(tmp_path, capsys):
    assert endurance.main(["--steps=400", f"--workdir={tmp_path / 'run'}"]) == 0, capsys.readouterr().out
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 3
