"""Alerts: each at its limit, what it says, and how often."""

import math

import pytest

from azr_jax.config import from_mapping
from azr_jax.monitor.alerts import REPEAT_STEPS, Watch, alerts
from configs import base

SETTINGS = from_mapping(base.get_config().to_dict()).monitoring
GOOD = {
    "propose/valid": 0.05,
    "propose/acc_zero": 0.95,
    "ppo/mismatch_mean": 0.1,
    "ppo/mismatch_prob_error": 1.05,
    "ppo/entropy": 0.01,
    "ppo/nonfinite": 0.0,
}


def test_values_at_their_limits_are_no_alert():
    assert alerts(GOOD, SETTINGS) == []


@pytest.mark.parametrize(
    ("key", "value", "name", "finding"),
    [
        ("propose/valid", 0.049, "valid_proposals", "4.9% of the proposals are valid, under 5.0%"),
        ("propose/acc_zero", 0.97, "nothing_solved", "P(acc=0) is 97.0%, over 95.0%"),
        ("ppo/mismatch_mean", 0.2, "mismatch", "differ by 0.2 nats a token, more than 0.1"),
        ("ppo/mismatch_prob_error", 1.2, "probability_error", "off by a factor of 1.2 in the mean, more than 1.05"),
        ("ppo/entropy", 0.001, "entropy_collapse", "entropy is 0.001 nats, under 0.01"),
        ("ppo/nonfinite", 2.0, "not_finite", "2 updates of this step had a loss or gradient that is not finite"),
    ],
)
def test_each_says_what_it_means_and_what_to_try(key, value, name, finding):
    (alert,) = alerts(GOOD | {key: value}, SETTINGS)
    assert alert.name == name
    assert finding in str(alert) and "It usually means: " in str(alert) and "Try: " in str(alert)


def test_the_advice_names_settings_that_exist():
    bad = {key: -1.0 if key in ("propose/valid", "ppo/entropy") else 2.0 for key in GOOD}
    known = dict(base.get_config().to_dict())
    found = alerts(bad, SETTINGS)
    assert len(found) == len(GOOD)
    sections = ("learner.", "reward.", "selfplay.", "model.")
    for alert in found:
        words = [word.strip("`,;()").partition("=")[0] for word in alert.advice.split()]
        named = [word for word in words if word.startswith(sections)]
        assert named or "doctor" in alert.advice
        for word in named:
            section, key = word.split(".")
            assert key in known[section], word


def test_what_is_absent_or_no_number_says_nothing():
    assert alerts({}, SETTINGS) == []
    assert alerts({"ppo/entropy": math.nan, "propose/valid": None}, SETTINGS) == []


def test_an_alert_that_lasts_or_comes_and_goes_is_said_rarely_and_a_new_one_at_once():
    watch, bad = Watch(SETTINGS), GOOD | {"propose/valid": 0.0}
    said = [step for step in range(1, 40) if watch.new_alerts(step, bad)]
    assert said == [1, 1 + REPEAT_STEPS, 1 + 2 * REPEAT_STEPS]
    assert watch.new_alerts(40, GOOD) == []
    both = watch.new_alerts(41, bad | {"ppo/entropy": 0.0})
    assert [one.name for one in both] == ["entropy_collapse"]
    assert [one.name for one in watch.new_alerts(60, bad)] == ["valid_proposals"]
    flickering = [step for step in range(100, 140) if watch.new_alerts(step, bad if step % 2 else GOOD)]
    assert flickering == [101, 117, 133]
