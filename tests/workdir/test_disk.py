"""What all parts rely on: whole files, JSON lines, which saves there are, which settings may change."""

from __future__ import annotations

import dataclasses
import os
import resource

import pytest
from conftest import small_config

from azr_jax.config import differences
from azr_jax.workdir import atomic, json_lines, saved, settings


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    file = tmp_path / "config.json"
    atomic.write(file, "first é")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=r"config\.json: can't be written .*free space there"):
            atomic.write(file, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text("utf-8") == "first é"
    atomic.write(file, b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"second"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "export"
    with atomic.folder(place) as partial:
        (partial / "a").write_text("1")
        assert not place.exists()
    with pytest.raises(OSError, match="full"), atomic.folder(place) as partial:
        (partial / "b").write_text("2")
        raise OSError("full")
    with atomic.folder(place, writes=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert [path.name for path in place.iterdir()] == ["a"]
    with atomic.folder(place) as partial:
        (partial / "c").write_text("3")
    assert [path.name for path in place.iterdir()] == ["c"]


def test_json_lines_name_the_damaged_line_and_leave_out_an_unfinished_one(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert list(json_lines.rows(file)) == []
    json_lines.append(file, [{"step": 1, "x": float("nan")}, {"step": 2}])
    with file.open("a") as stream:
        stream.write('{"step": 3')
    assert list(json_lines.rows(file)) == [{"step": 1, "x": None}, {"step": 2}]
    assert json_lines.keep_until(file, 1) == 1
    assert file.read_text() == '{"step": 1, "x": null}\n'
    for damage in ("not json", '{"step": "1"}', '{"step": true}', "[1]", "[" * 100_000):
        file.write_text(f'{{"step": 1}}\n{damage}\n{{"step": 2}}\n')
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: damaged"):
            list(json_lines.rows(file))
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: damaged"):
            json_lines.keep_until(file, 2)


def test_stray_files_and_folders_are_not_saves(tmp_path):
    assert saved.saved_steps(tmp_path) == []
    place = tmp_path / "checkpoints"
    for name in ("0", "16", "00", "007", "٣", "²", "3.orbax-checkpoint-tmp", "8.deleted", "notes"):
        (place / name).mkdir(parents=True)
    (place / "5").write_text("a stray file")
    (place / "scores.json").write_text("{}")
    assert saved.saved_steps(tmp_path) == [0, 16]
    place = tmp_path / "in_the_way"
    place.mkdir()
    (place / "checkpoints").write_text("a file")
    assert saved.saved_steps(place) == []


def test_the_json_part_of_a_save_is_of_its_step(tmp_path):
    file = saved.host_file(tmp_path, 4)
    file.parent.mkdir(parents=True)
    file.write_text('{"step": 4, "host": {"seconds": 1.5}}')
    assert saved.saved_host(tmp_path, 4) == {"seconds": 1.5}
    for content in ("{}", '{"step": 3, "host": {}}', '{"step": 4, "host": []}', "[", ""):
        file.write_text(content)
        with pytest.raises(ValueError, match=r"checkpoints/4/host/metadata: "):
            saved.saved_host(tmp_path, 4)


def test_every_setting_that_may_change_exists_and_a_study_binds_what_its_scores_depend_on():
    config = small_config()
    keys = [line.split(":")[0] for line in differences({}, dataclasses.asdict(config))]
    nested = [
        line.split(":")[0]
        for key in keys
        if isinstance(section := dataclasses.asdict(config)[key], dict)
        for line in differences({key: dict.fromkeys(section, "old")}, {key: dict.fromkeys(section, "new")})
    ]
    known = [*keys, *nested]
    for name in settings.MAY_CHANGE:
        assert any(key == name or (name.endswith(".") and key.startswith(name)) for key in known), name
    changed = ["steps: 1 -> 2", "evaluation.heldout: '' -> 'x'", "evaluation.every: 0 -> 1", "executor.workers: 0 -> 2"]
    changed += ["learner.rows_per_microbatch: 0 -> 2", "sampler.slots: 0 -> 9"]
    bound = ["learner.lr: 1 -> 2", "executor.wall_s: 1 -> 2", "model.path: 'a' -> 'b'", "stepsize: 1 -> 2"]
    assert settings.binding([*changed, *bound]) == bound
    assert settings.binding([*changed, *bound], scores=True) == [changed[1], *bound]


def test_settings_of_another_kind_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"not a run of azr_jax \(no config\.json\)"):
        settings.read_config(tmp_path)
    for content, words in (("{}", "its config.json is another program's"), ("[", "damaged"), ("3", "damaged")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=words):
            settings.read_config(tmp_path)
    text = small_config().to_json().replace('"steps"', '"stepz"')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{os.fspath(tmp_path)}/config\.json: .*stepz"):
        settings.read_config(tmp_path)
