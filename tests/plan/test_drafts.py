"""What drafts from a response's own text would save: by hand, against a search, and on a run's transcripts."""

import json

import numpy as np
import pytest
from conftest import REPOSITORY, small_config

from azr_jax.plan import drafts
from azr_jax.plan.drafts import Counts, simulate


def test_by_hand():
    # After 1 comes 2 3 1: the draft, of which 2 3 are right, and the step's own token is 9.
    assert simulate([1, 2, 3, 1], [2, 3, 9], 3, 3) == Counts(3, 1, 3, 2)
    assert simulate([], [5, 6], 3, 4) == Counts(2, 2, 0, 0)
    assert simulate([7], [7, 7, 7, 7, 7], 1, 2).tokens == 5


def searched(prompt, response, order, most) -> Counts:
    """The same by looking through all places."""
    steps = drafted = kept = place = 0
    while place < len(response):
        known = [*prompt, *response[:place]]
        draft: list[int] = []
        for length in range(min(order, len(known)), 0, -1):
            places = [
                end for end in range(length, len(known)) if known[end - length : end] == known[len(known) - length :]
            ]
            if places:
                draft = (known[places[-1] :] * most)[:most]
                break
        right = 0
        while right < len(draft) and place + right < len(response) and draft[right] == response[place + right]:
            right += 1
        steps, drafted, kept, place = steps + 1, drafted + len(draft), kept + right, place + right + 1
    return Counts(len(response), steps, drafted, kept)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("most", [1, 4])
def test_it_equals_a_search_through_all_places(order, most):
    generator = np.random.default_rng(order * 10 + most)
    for length in (0, 1, 5, 40):
        prompt, response = (generator.integers(0, 4, size).tolist() for size in (length, 60))
        assert simulate(prompt, response, order, most) == searched(prompt, response, order, most)


def test_the_command_reads_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(REPOSITORY))
    config = small_config(model__path="~/azr_jax/embedded/azr-tiny")
    (tmp_path / "config.json").write_text(config.to_json())
    assert drafts.main([str(tmp_path)]) == 2
    assert "no response in its transcripts.jsonl" in capsys.readouterr().err
    row = {"step": 1, "prompt": "def f(x):\n    return x + 1\n", "response": "def f(x):\n    return x + 1\n"}
    (tmp_path / "transcripts.jsonl").write_text(json.dumps(row) + "\n")
    assert drafts.main([str(tmp_path), "--drafts=8"]) == 0
    assert float(capsys.readouterr().out.split()[0]) > 2
    assert drafts.main([str(tmp_path), "--drafts=0"]) == 2


def test_a_bucket_that_cannot_be_read_is_one_line(capsys, monkeypatch):
    def refuse(_):
        raise RuntimeError("no rights")

    monkeypatch.setattr(drafts, "read_settings", refuse)
    assert drafts.main(["gs://bucket/julia"]) == 2
    assert "error: gs://bucket/julia: can't be read (RuntimeError: no rights)" in capsys.readouterr().err
