"""Alerts: each at its limit, what it says, and how often."""

import dataclasses
import math

import pytest

from azr_jax.config import from_mapping
from azr_jax.monitor.alerts import REPEAT_STEPS, Watch, alerts
from configs import base

CONFIG = from_mapping(base.get_config().to_dict())
GOOD = {
    "propose/valid": 0.05,
    "propose/acc_zero": 0.95,
    "propose/acc_one": 0.95,
    f"propose/{CONFIG.languages[-1]}/program/distinct_outputs": 0.34,
    "ppo/mismatch_mean": 0.1,
    "ppo/mismatch_prob_error": 1.05,
    "ppo/entropy": 0.01,
    "sample/empty": 0.5,
    "ppo/nonfinite": 0.0,
    "ppo/zero_advantage": 0.9,
}


def test_values_at_their_limits_are_no_alert():
    assert alerts(GOOD, CONFIG) == []


@pytest.mark.parametrize(
    ("key", "value", "name", "finding"),
    [
        ("propose/valid", 0.049, "valid_proposals", "4.9% of the proposals are valid, under 5.0%"),
        ("propose/acc_zero", 0.97, "nothing_solved", "P(acc=0) is 97.0%, over 95.0%"),
        ("propose/acc_one", 1.0, "all_solved", "P(acc=1) is 100.0%, over 95.0%"),
        (list(GOOD)[3], 1 / 3, "same_outputs", "programs gave few different values: 33.3%, under 34.0%"),
        ("ppo/mismatch_mean", 0.2, "mismatch", "differ by 0.2 nats a token, more than 0.1"),
        ("ppo/mismatch_prob_error", 1.2, "probability_error", "off by a factor of 1.2 in the mean, more than 1.05"),
        ("ppo/entropy", 0.001, "entropy_collapse", "entropy is 0.001 nats, under 0.01"),
        ("sample/empty", 0.6, "empty_responses", "60.0% of the responses are empty"),
        ("ppo/nonfinite", 2.0, "not_finite", "2 updates of this step had a loss or gradient that is not finite"),
        ("ppo/zero_advantage", 1.0, "no_advantage", "every advantage of this step is 0"),
    ],
)
def test_each_says_what_it_means_and_what_to_try(key, value, name, finding):
    (alert,) = alerts(GOOD | {key: value}, CONFIG)
    assert alert.name == name
    assert finding in str(alert) and "It usually means: " in str(alert) and "Try: " in str(alert)


def test_the_advice_names_settings_that_exist():
    bad = {key: -1.0 if key.endswith(("valid", "entropy", "outputs")) else 2.0 for key in GOOD}
    known = dict(base.get_config().to_dict())
    cut_off, top_p = (
        {"propose/length_capped": 0.7, "solve/length_capped": 0.7},
        {"sampler": {**base.get_config().sampler, "top_p": 0.9}},
    )
    raised = alerts(bad, CONFIG)
    assert len(raised) == len(GOOD)
    raised += alerts(bad | cut_off, from_mapping({**base.get_config().to_dict(), **top_p}))
    sections = ("learner.", "reward.", "selfplay.", "model.", "sampler.")
    for alert in raised:
        words = [word.strip("`,;()").partition("=")[0] for word in alert.advice.split()]
        named = [word for word in words if word.startswith(sections)]
        assert named or "doctor" in alert.advice
        for word in named:
            section, key = word.split(".")
            assert key in known[section], word


@pytest.mark.parametrize(
    ("metrics", "meaning"),
    [
        ({}, "the model has lost the format"),
        ({"propose/length_capped": 0.7}, "most proposals are cut off at the length limit"),
        ({"solve/length_capped": 0.7}, "the model has lost the format"),
        ({"propose/outcome/duplicate": 0.6}, "repeat what the buffer has"),
        ({"propose/error/syntax": 0.6}, "do not compile"),
    ],
)
def test_an_alert_knows_its_cause(metrics, meaning):
    (alert,) = alerts({"propose/valid": 0.0, **metrics}, CONFIG)
    assert meaning in alert.meaning


def test_a_lag_is_named_where_it_is_the_cause():
    for key in ("ppo/mismatch_mean", "ppo/mismatch_prob_error"):
        (alert,) = alerts({key: 2.0, "sample/lag_tokens": 0.3}, CONFIG)
        assert "pipeline.lag=0" in alert.advice
        (alert,) = alerts({key: 2.0, "sample/lag_tokens": 0.0}, CONFIG)
        assert "pipeline.lag" not in str(alert)


def test_a_cut_distribution_is_the_first_suspect_of_a_mismatch():
    cut = dataclasses.replace(CONFIG, sampler=dataclasses.replace(CONFIG.sampler, top_p=0.9))
    (alert,) = alerts({"ppo/mismatch_mean": 0.2}, cut)
    assert "sampler.top_p" in alert.meaning and "sampler.top_p=1.0" in alert.advice
    (alert,) = alerts({"ppo/mismatch_mean": 0.2}, CONFIG)
    assert "top_p" not in str(alert)


def test_estimates_hotter_than_training_are_the_first_suspect_where_nothing_is_solved():
    cooler = dataclasses.replace(CONFIG, sampler=dataclasses.replace(CONFIG.sampler, temperature=0.7))
    (alert,) = alerts({"propose/acc_zero": 1.0}, cooler)
    assert "higher temperature" in alert.meaning and "selfplay.estimate_temperature" in alert.advice
    (alert,) = alerts({"propose/acc_zero": 1.0}, CONFIG)
    assert "too hard" in alert.meaning


def test_absent_metrics_and_nan_raise_no_alert():
    assert alerts({}, CONFIG) == []
    assert alerts({"ppo/entropy": math.nan, "propose/valid": None}, CONFIG) == []


def test_an_alert_that_lasts_or_comes_and_goes_is_said_rarely_and_a_new_one_at_once():
    watch, bad = Watch(CONFIG), GOOD | {"propose/valid": 0.0}
    said = [step for step in range(1, 40) if watch.new_alerts(step, bad)]
    assert said == [1, 1 + REPEAT_STEPS, 1 + 2 * REPEAT_STEPS]
    assert watch.new_alerts(40, GOOD) == []
    both = watch.new_alerts(41, bad | {"ppo/entropy": 0.0})
    assert [alert.name for alert in both] == ["entropy_collapse"]
    assert [alert.name for alert in watch.new_alerts(60, bad)] == ["valid_proposals"]
    flickering = [step for step in range(100, 140) if watch.new_alerts(step, bad if step % 2 else GOOD)]
    assert flickering == [101, 117, 133]
