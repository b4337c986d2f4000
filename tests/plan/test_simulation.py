"""A simulated step: what is submitted when, where the time goes, and lengths from a run."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from azr_jax.config import from_mapping
from azr_jax.plan import build, chips, estimate, lengths, sharing, simulation
from azr_jax.plan.lengths import Lengths, LogNormal
from azr_jax.plan.planning import make_plan
from azr_jax.plan.simulation import Executors
from azr_jax.plan.table import reach_text
from configs import tiny

CHIP = chips.CHIPS["v5e"]
FIXED = Lengths(LogNormal(40, 1e-9, 160), 100, 0.5, "all 40 tokens")
FEW_VALID = Lengths(LogNormal(40, 1.0, 160), 100, 0.02, "log-normal")


@pytest.fixture(scope="module")
def planned():
    """azr-tiny on one device that is called a v5e, with a slot for every response of a step."""
    mapping = tiny.get_config()
    mapping.selfplay.batch_per_task, mapping.selfplay.estimate_samples, mapping.sampler.slots = 16, 4, 192
    config = from_mapping(mapping.to_dict())
    plan = build.setup(config, build.model_config(config), jax.devices()[:1], CHIP.hbm_gib)
    return plan, sharing.share(plan, CHIP.hbm_gib)


def test_a_step_has_all_its_responses_and_its_parts_are_its_seconds(planned):
    plan, shared = planned
    step = simulation.step(plan, shared, CHIP, FIXED, "after")
    # 48 proposals, 24 of them valid with 4 samples each, 48 solutions; 40 tokens each.
    assert (step.responses, step.response_tokens) == (48 + 96 + 48, 40 * 192)
    assert step.seconds == pytest.approx(step.sampling_s + step.waiting_s + step.update_s + step.moving_s)
    assert 0.0 < step.occupancy <= 1.0 and step.update_s > 0.0


def test_solver_tasks_drawn_at_the_start_share_the_queue(planned):
    plan, shared = planned
    assert len(simulation.Queue(plan, FEW_VALID, "before", 0).first()) == 96
    queue = simulation.Queue(plan, FEW_VALID, "after", 0)
    assert len(queue.first()) == 48
    # The one valid proposal leads to its samples, the last one validated to the solver tasks.
    led_to = [[request.id for request in queue.after(f"propose/{n}")] for n in range(48)]
    assert led_to[0] == [f"estimate/0/{m}" for m in range(4)] and len(led_to[-1]) == 48 and not any(led_to[1:-1])
    steps = {order: simulation.step(plan, shared, CHIP, FEW_VALID, order) for order in simulation.SOLVER_TASKS}
    before, after = steps["before"], steps["after"]
    assert before.responses == after.responses and before.response_tokens == after.response_tokens
    assert before.decode_steps < after.decode_steps and before.occupancy > after.occupancy


def test_with_a_lag_proposals_are_there_at_the_start_and_the_next_ones_fill_the_tail(planned):
    plan, shared = planned
    pipeline = dataclasses.replace(plan.config.pipeline, lag=1, early_share=0.25)  # 40 tokens
    lagged = dataclasses.replace(plan, config=dataclasses.replace(plan.config, pipeline=pipeline))
    queue = simulation.Queue(lagged, FIXED, "after", 0)
    assert len(queue.ready) == 48 and not queue.first()
    for name in queue.ready:
        assert not queue.later
        queue.after(name)
    assert len(queue.later) == 48
    mixed = simulation.Queue(lagged, FEW_VALID, "before", 0)
    longer = [request for request in mixed.first() if request.id.startswith("propose")]
    assert len(longer) + len(mixed.ready) == 48 and {len(request.prompt_ids) for request in longer} == {100 + 40}
    steps = {p.config.pipeline.lag: simulation.step(p, shared, CHIP, FIXED, "after") for p in (plan, lagged)}
    assert steps[0].responses == steps[1].responses and steps[0].response_tokens == steps[1].response_tokens
    # Of three waves (proposals, estimates, solutions) the first is over when the step begins.
    assert steps[1].decode_steps == steps[0].decode_steps * 2 / 3 and steps[1].update_s == steps[0].update_s


def test_the_old_policy_and_a_reference_score_before_the_update():
    seconds, listed = {}, {}
    for name, changes in {
        "one step": {},
        "three": {"minibatches": "3"},
        "bypass": {"minibatches": "3", "recompute_old_logprobs": False},
        "reference": {"kl_coef": 0.1},
    }.items():
        mapping = tiny.get_config()
        mapping.learner.update(changes)
        config = from_mapping(mapping.to_dict())
        plan = build.setup(config, build.model_config(config), jax.devices()[:1], CHIP.hbm_gib)
        seconds[name] = estimate.update_s(plan, CHIP, 10**6)
        listed[name] = reach_text(plan, sharing.share(plan, CHIP.hbm_gib)).rpartition("update: ")[2]
    assert listed["one step"] == listed["bypass"] == "accumulate, apply"
    assert listed["three"] == "accumulate, apply, the old policy's score"
    assert listed["reference"] == "accumulate, apply, the reference's score"
    assert seconds["three"] > 1.1 * seconds["bypass"] and seconds["reference"] > 1.1 * seconds["one step"]
    assert seconds["three"] < 1.5 * seconds["bypass"]


def test_each_optimizer_step_fills_its_own_microbatches():
    seconds = {}
    for steps in ("1", "3"):
        mapping = tiny.get_config()
        mapping.learner.update({"minibatches": steps, "recompute_old_logprobs": False})
        config = from_mapping(mapping.to_dict())
        plan = build.setup(config, build.model_config(config), jax.devices()[:1], CHIP.hbm_gib)
        # As many tokens as half a microbatch holds: the three steps run one each, mostly empty.
        tokens = config.learner.row_tokens * plan.learner.rows_per_microbatch // 2
        seconds[steps] = estimate.update_s(plan, CHIP, tokens)
    assert seconds["3"] == pytest.approx(3 * seconds["1"])


def test_problems_are_asked_from_the_start(planned):
    plan, shared = planned
    mapping = json.loads(plan.config.to_json())
    mapping["problems"] |= {"path": "problems.jsonl", "share": 0.25}
    more = dataclasses.replace(plan, config=from_mapping(mapping))
    asked = [request.id for request in simulation.Queue(more, FEW_VALID, "after", 0).first()]
    assert asked[48:] == [f"problem/{n}" for n in range(16)]
    assert simulation.step(more, shared, CHIP, FIXED, "after").responses == 48 + 96 + 48 + 16


def test_slow_programs_are_waited_for(planned):
    plan, shared = planned
    slow = simulation.step(plan, shared, CHIP, FIXED, "after", executors=Executors(program_s=5.0, workers=48))
    quick = simulation.step(plan, shared, CHIP, FIXED, "after", executors=Executors(program_s=0.0, workers=48))
    assert slow.waiting_s > 5.0 and quick.waiting_s == 0.0
    assert slow.decode_steps >= quick.decode_steps


def test_drafts_shorten_the_tail_by_the_tokens_they_are_said_to_keep(planned):
    plan, shared = planned
    mapping = json.loads(plan.config.to_json())
    mapping["sampler"] |= {"draft_rows": 16, "draft_tokens": 3}
    drafting = build.setup(from_mapping(mapping), plan.model, jax.devices()[:1], CHIP.hbm_gib)
    without, *steps = (
        simulation.step(planned_so, shared, CHIP, dataclasses.replace(FEW_VALID, tokens_per_draft_step=rate))
        for planned_so, rate in ((plan, 2.0), (drafting, 1.0), (drafting, 2.0), (drafting, 4.0), (drafting, 9.0))
    )
    assert len({step.response_tokens for step in (without, *steps)}) == 1
    slow, half, quarter, more = (step.decode_steps for step in steps)
    # At one token a step drafts save none; a step draws no more tokens than it computes.
    assert slow == pytest.approx(without.decode_steps, rel=0.1) and slow > half > quarter == more
    assert without.tail_s > steps[2].tail_s


def test_the_tail_is_what_runs_with_few_slots_alive():
    clock = simulation.Clock(chunks=[(1.0, 3, 64), (1.0, 64, 64), (2.0, 32, 64), (4.0, 6, 64), (8.0, 1, 64)])
    assert simulation.tail_s(clock, 64) == 12.0  # the filling at the start is no tail


def test_lengths_are_log_normal_capped_and_the_same_each_time():
    drawn = LogNormal(median=500, sigma=1.0, cap=8096).draw(20000, seed=0)
    assert sorted(drawn)[10000] == pytest.approx(500, rel=0.03)
    assert max(drawn) == 8096 and min(drawn) >= 1
    assert sum(500 < n < 1359 for n in drawn) / 20000 == pytest.approx(0.341, abs=0.01)  # one sigma
    again = LogNormal(median=500, sigma=1.0, cap=8096)
    assert again.draw(5, seed=3) == again.draw(5, seed=3) != again.draw(5, seed=4)


def test_lengths_of_a_run_are_those_of_its_transcripts_or_fitted_to_its_mean(tmp_path):
    row = {"step": 1, "sample/response_tokens": 300.0, "sample/prompt_tokens": 90.4, "propose/valid": 0.25}
    row["sample/tokens_per_draft_step"] = 2.5
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    fitted = lengths.parse(str(tmp_path), 1000, 6144)
    assert (fitted.prompt_tokens, fitted.valid_share) == (90, 0.25) and "mean" in fitted.source
    assert fitted.tokens_per_draft_step == 2.5 and fitted.source.endswith("prompts of 90")
    assert np.mean(fitted.responses.draw(20000, 1)) == pytest.approx(300, rel=0.03)
    rows = [json.dumps({"step": 1, "tokens": 7 if n % 2 else 5000}) for n in range(200)]
    (tmp_path / "transcripts.jsonl").write_text("\n".join(rows) + "\n")
    measured = lengths.parse(str(tmp_path), 1000, 6144)
    assert set(measured.responses.draw(100, 0)) == {7, 1000} and "200 responses" in measured.source
    assert measured.source.endswith("prompts of 90")


def test_prompts_are_no_longer_than_the_configs_and_so_they_are_called(tmp_path):
    drawn = lengths.parse("500,1", 160, 256)
    assert drawn.prompt_tokens == 256 and drawn.source.endswith("prompts of 256")
    assert lengths.parse("500,1", 8096, 6144).source.endswith("prompts of 1200")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "sample/prompt_tokens": 1300}\n')
    assert lengths.parse(str(tmp_path), 160, 256).prompt_tokens == 256


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1"])
def test_numbers_that_no_run_writes_are_not_taken(number, tmp_path):
    names = ("sample/response_tokens", "sample/prompt_tokens", "propose/valid", "sample/tokens_per_draft_step")
    (tmp_path / "metrics.jsonl").write_text("{" + "".join(f'"{name}": {number}, ' for name in names) + '"step": 1}\n')
    drawn = lengths.parse(str(tmp_path), 1000, 6144)
    assert (drawn.prompt_tokens, drawn.valid_share) == (lengths.PROMPT_TOKENS, lengths.VALID_SHARE)
    assert drawn.tokens_per_draft_step == lengths.TOKENS_PER_DRAFT_STEP
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "propose/valid": 7, "sample/tokens_per_draft_step": 0.5}\n')
    drawn = lengths.parse(str(tmp_path), 1000, 6144)
    # A row draws one token a step at least: with fewer the simulated step would not end.
    assert (drawn.valid_share, drawn.tokens_per_draft_step) == (1.0, 1.0)


def test_lengths_of_a_run_in_a_bucket(monkeypatch):
    files = []
    monkeypatch.setattr(lengths.json_lines, "rows", lambda file: files.append(str(file)) or iter([{"step": 1}]))
    lengths.parse("gs://bucket/julia", 1000, 6144)
    assert files == ["gs://bucket/julia/metrics.jsonl", "gs://bucket/julia/transcripts.jsonl"]


@pytest.mark.parametrize("text", ["500,0", "a,b", "1,2,3", "nowhere", "nan,1", "500,nan", "inf,1", "500,inf"])
def test_lengths_that_are_none_are_an_error(text):
    with pytest.raises(ValueError, match=f"--lengths={text}"):
        lengths.parse(text, 1000, 6144)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_the_command_plans_without_compiling():
    command = [sys.executable, "-m", "azr_jax.plan", "--config=tiny", "--topology=v5e:1x1", "--nocompile", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout.splitlines()[-1])
    assert planned["topology"] == "v5e:1x1" and planned["simulated"]["after"]["seconds"] > 0.0
    assert planned["fits"] is None, "nothing was compiled"


def test_a_plan_without_compiling_is_the_simulated_step(planned, monkeypatch):
    plan, _ = planned
    monkeypatch.setattr(build, "topology_devices", lambda _: jax.devices()[:1])
    lines = []
    one_seed = dataclasses.replace(plan.config, mesh=dataclasses.replace(plan.config.mesh, fsdp=1))
    planned_step = make_plan(one_seed, "v5e:1x1", lines.append, "40,1", compiles=False)
    assert planned_step["simulated"]["after"]["seconds"] > planned_step["simulated"]["before"]["seconds"] > 0.0
    text = "\n".join(lines)
    assert "large programs that a run can reach: prefill in " in text
    assert "decode in 1, update: accumulate, apply\n" in text
    (own,) = re.findall(r"^ \* (.*)$", text, re.MULTILINE)  # not the same mesh with other slots, or its state elsewhere
    assert f"{plan.config.sampler.slots} slots, state on the device (mesh.resting_state=device), " in own
    seconds = [float(word) for word in re.findall(r"([\d.]+) s(?: =| a step)", text)]
    assert len(seconds) == 5 and all(0 < second < 10 for second in seconds)  # three orders, two places of the state
    assert planned_step["fits"] is None and "the slots fit; whether the programs do" in lines[-1]
    many = dataclasses.replace(one_seed, sampler=dataclasses.replace(one_seed.sampler, slots=10**7))
    assert make_plan(many, "v5e:1x1", lines.append, "40,1", compiles=False)["fits"] is False
    assert re.search(r"sampler\.slots=10000000: \d+ fit: lower it", lines[-1])
    monkeypatch.setitem(chips.CHIPS, "v5e", dataclasses.replace(CHIP, hbm_gib=0.01))  # the state has 0.013
    assert make_plan(one_seed, "v5e:1x1", lines.append, "40,1", compiles=False)["fits"] is False
    assert "learner's state: 0.01 GiB of 0.01: raise mesh.fsdp, or take a larger slice" in lines[-1]
    assert "simulated (log-normal, median 40, sigma 1" in text and "meshes and slots, quickest simulated" in text
