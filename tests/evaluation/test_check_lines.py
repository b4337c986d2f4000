"""What `check` keeps while it judges and what it writes: killed anywhere, continued, held, and to any kind of --out."""

import contextlib
import errno
import io
import json
import os
import threading

import pytest
from recorded import needs
from test_cheats import JAVASCRIPT
from test_commands import write_lines

from azr_jax.evaluation.__main__ import main
from azr_jax.evaluation.commands import check, verdict_lines
from azr_jax.evaluation.judging.judge import Judgement

TEXTS = ["right", "wrong", "right", "odd \u2028 text", "right"]


class Judge:
    """Judges by the completion's text: what has `right` in it passes, `broken` ones are the executors' failure."""

    interpreter_version = "javascript 1"

    def __init__(self):
        self.asked, self.broken, self.before = [], set(), {}

    def judge_all(self, items):
        for _, completion in items:
            number = completion.extra["id"]
            self.before.get(number, lambda: None)()
            self.asked.append(number)
            status = "OK" if "right" in completion.text else "Exception"
            yield Judgement("twice", status, 0, "", completion.text, 0.5, infrastructure=number in self.broken)


@pytest.fixture
def judge(monkeypatch):
    judge = Judge()
    monkeypatch.setattr(check, "open_judges", lambda *_, **__: contextlib.nullcontext([judge]))
    return judge


@pytest.fixture
def command(tmp_path):
    problems = write_lines(tmp_path / "problems.jsonl", [JAVASCRIPT.record])
    lines = [{"id": number, "name": "twice", "completion": text} for number, text in enumerate(TEXTS)]
    completions = write_lines(tmp_path / "completions.jsonl", lines)
    return ["check", "--language=js", f"--problems={problems}", f"--completions={completions}"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def begun(out):
    return out.with_name("out.jsonl.begun")


def interruption():
    raise KeyboardInterrupt


def journal_and_lines(judge, command, out, begun, monkeypatch):
    """The journal just before its end, and the file that the command writes; neither is there any more."""
    with monkeypatch.context() as patch:
        patch.setattr(verdict_lines.atomic, "write", lambda *_: interruption())
        assert main([*command, f"--out={out}"]) == 130
    journal = begun.read_bytes()
    assert main([*command, f"--out={out}"]) == 0 and judge.asked == [0, 1, 2, 3, 4] and not begun.exists()
    lines = out.read_bytes()
    assert [json.loads(line)["id"] for line in lines.splitlines()] == [0, 1, 2, 3, 4]
    out.unlink()
    return journal, lines


def test_killed_at_any_byte_the_same_command_writes_the_same_file(judge, command, out, begun, monkeypatch):
    journal, lines = journal_and_lines(judge, command, out, begun, monkeypatch)
    for size in [*range(0, len(journal), 7), len(journal)]:
        out.write_text("an earlier result\n")
        begun.write_bytes(journal[:size])
        whole = max(journal[:size].count(b"\n") - 1, 0)
        judge.asked.clear()
        assert main([*command, f"--out={out}"]) == 0
        assert judge.asked == [0, 1, 2, 3, 4][whole:] and out.read_bytes() == lines and not begun.exists()


@pytest.mark.parametrize("damage", [b"\0" * 30, b"\n", b"[3]\n", b"\r\xff", b'\n{"number": true, "line": {}}\n'])
def test_a_damaged_line_counts_as_not_judged(judge, command, out, begun, monkeypatch, damage):
    journal, lines = journal_and_lines(judge, command, out, begun, monkeypatch)
    head = journal.index(b"\n") + 1
    for place in range(head, len(journal), 23):
        begun.write_bytes(journal[:place] + damage + journal[place + len(damage) :])
        judge.asked.clear()
        assert main([*command, f"--out={out}"]) == 0
        assert len(judge.asked) <= 4 and out.read_bytes() == lines


def test_only_what_the_executors_failed_on_is_judged_again(judge, command, out, begun, capsys):
    judge.broken = {1, 3}
    assert main([*command, f"--out={out}"]) == 1
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line.get("infrastructure", False) for line in lines] == [False, True, False, True, False]
    assert "the executors failed on 2" in capsys.readouterr().out and begun.exists()
    judge.asked, judge.broken = [], {3}
    assert main([*command, f"--out={out}"]) == 1 and judge.asked == [1, 3]
    judge.asked, judge.broken = [], set()
    assert main([*command, f"--out={out}"]) == 0 and judge.asked == [3] and not begun.exists()
    assert capsys.readouterr().out.endswith("sound: 3 of 5 pass\n")
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [0, 1, 2, 3, 4]


def test_a_second_command_with_one_out_is_refused(judge, command, out, capsys, tmp_path):
    link = tmp_path / "link.jsonl"
    link.symlink_to(out)
    judge.before = {2: lambda: statuses.extend(main([*command, f"--out={path}"]) for path in (out, link))}
    statuses = []
    assert main([*command, f"--out={out}"]) == 0 and statuses == [2, 2]
    assert judge.asked == [0, 1, 2, 3, 4] and len(out.read_text().splitlines()) == 5 and link.is_symlink()
    assert capsys.readouterr().err.count("another check is writing it") == 2


def test_an_interrupted_command_is_not_taken_for_another(judge, command, out, begun, capsys):
    out.write_text("an earlier result\n")
    judge.before = {0: interruption}
    assert main([*command, f"--out={out}"]) == 130
    assert main([*command, f"--out={out}", "--timeout=7"]) == 130, "nothing was judged: another command may begin"
    judge.before = {2: interruption}
    assert main([*command, f"--out={out}"]) == 130
    assert capsys.readouterr().err.endswith(f"interrupted; {begun} has 2 lines; the same command continues\n")
    kept = begun.read_bytes()
    assert main([*command, f"--out={out}", "--timeout=7"]) == 2
    assert "an interrupted command with other problems" in capsys.readouterr().err
    assert begun.read_bytes() == kept and out.read_text() == "an earlier result\n"
    judge.before, judge.asked = {}, []
    assert main([*command, f"--out={out}"]) == 0 and judge.asked == [2, 3, 4]
    captured = capsys.readouterr()
    assert captured.out == "sound: 3 of 5 pass\n" and "has 2 of 5 already" in captured.err


def test_interrupted_after_its_end_it_says_that_all_lines_are_there(judge, command, out, begun, capsys, monkeypatch):
    monkeypatch.setattr(check, "_summary", lambda *_: interruption())
    assert main([*command, f"--out={out}"]) == 130
    assert capsys.readouterr().err == "interrupted; all lines are in --out\n"
    assert len(out.read_text().splitlines()) == 5 and not begun.exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda text: text.replace('"number": 1', '"number": 5'), "is not completion 5"),
        (lambda text: text.replace('"number": 1', '"number": -1'), "is not completion -1"),
        (lambda text: text.replace('"number": 1', '"number": 2'), "is not completion 2"),
        (lambda text: text.replace('"name": "twice"', '"name": "other"'), "'other' is not completion 0"),
        (lambda text: "my notes\n" + text, "no file of an interrupted check"),
    ],
)
def test_lines_of_other_completions_are_refused(judge, command, out, begun, capsys, wrong, words):
    judge.before = {3: interruption}
    assert main([*command, f"--out={out}"]) == 130
    text = wrong(begun.read_text())
    begun.write_text(text)
    assert main([*command, f"--out={out}"]) == 2 and begun.read_text() == text and not out.exists()
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("text", ["my notes", '{"name": "twice", "completion": "right"}', "\0" * 40])
def test_a_file_that_is_no_journal_is_kept(judge, command, out, begun, capsys, text):
    begun.write_text(text)
    assert main([*command, f"--out={out}"]) == 2 and begun.read_text() == text and not judge.asked
    assert "no file of an interrupted check" in capsys.readouterr().err
    assert main([*command[:-1], f"--completions={begun}", f"--out={out}"]) == 2 and begun.read_text() == text
    assert "out.jsonl.begun' would overwrite --completions" in capsys.readouterr().err


class Disk(io.FileIO):
    """A file on a disk with room for some bytes more."""

    room = 0

    def write(self, data):
        part = bytes(data[: Disk.room])
        if not part:
            raise OSError(errno.ENOSPC, "No space left on device")
        Disk.room -= len(part)
        return super().write(part)


def test_a_full_disk_keeps_the_earlier_result_and_what_was_judged(judge, command, out, begun, capsys, monkeypatch):
    lines = journal_and_lines(judge, command, out, begun, monkeypatch)[1]
    out.write_text("an earlier result\n")
    for room in (0, 20, 100, 150, 400):
        with monkeypatch.context() as patch:
            patch.setattr(verdict_lines, "open", lambda path, *_, **__: Disk(path, "a+"), raising=False)
            Disk.room = room
            assert main([*command, f"--out={out}"]) == 2
        assert f"error: {begun}: can't be written" in (error := capsys.readouterr().err) and "free space" in error
        assert out.read_text() == "an earlier result\n"
    assert main([*command, f"--out={out}"]) == 0 and out.read_bytes() == lines


def test_standard_output_as_out_gets_the_lines_alone(judge, command, capfd, tmp_path):
    with contextlib.chdir(tmp_path):
        assert main([*command, "--out=/dev/stdout"]) == 0
    captured = capfd.readouterr()
    assert [json.loads(line)["id"] for line in captured.out.splitlines()] == [0, 1, 2, 3, 4]
    assert captured.err == "sound: 3 of 5 pass\n"
    judge.before = {3: interruption}
    assert main([*command, "--out=/dev/stdout"]) == 130
    captured = capfd.readouterr()
    assert len(captured.out.splitlines()) == 3 and "continues" not in captured.err and "begins again" in captured.err
    assert not list(tmp_path.glob("*.begun"))


def test_a_pipe_is_written_to_and_stays(judge, command, out):
    os.mkfifo(out)
    read = []
    reader = threading.Thread(target=lambda: read.append(out.read_text()))
    reader.start()
    assert main([*command, f"--out={out}"]) == 0
    reader.join()
    assert len(read[0].splitlines()) == 5 and out.is_fifo()


def test_an_out_that_would_overwrite_an_input_is_refused(judge, command, out, tmp_path, capsys):
    os.link(tmp_path / "completions.jsonl", tmp_path / "hard.jsonl")
    (tmp_path / "soft.jsonl").symlink_to(tmp_path / "problems.jsonl")
    (tmp_path / "folder").mkdir()
    before = (tmp_path / "completions.jsonl").read_text()
    for name, words in {
        "completions.jsonl": "would overwrite --completions",
        "hard.jsonl": "would overwrite --completions",
        "soft.jsonl": "would overwrite --problems",
        "folder": "is a folder: name a file",
    }.items():
        assert main([*command, f"--out={tmp_path / name}"]) == 2
        assert words in capsys.readouterr().err
    command[-1] = f"--completions={tmp_path / 'folder'}"
    assert main([*command, f"--out={tmp_path / 'folder' / 'new.json'}"]) == 2
    assert "is within --completions" in capsys.readouterr().err
    assert not judge.asked and (tmp_path / "completions.jsonl").read_text() == before
    assert not list(tmp_path.glob("**/*.begun"))


def test_problems_are_a_folder_or_parquet_too(judge, command, out, tmp_path, capsys):
    import pyarrow
    from pyarrow import parquet

    folder = tmp_path / "data"
    folder.mkdir()
    command[2] = f"--problems={folder}"
    assert main([*command, f"--out={out}"]) == 2 and "no .jsonl, .jsonl.gz or .parquet" in capsys.readouterr().err
    rows = pyarrow.Table.from_pylist([dict(JAVASCRIPT.record)])
    parquet.write_table(rows, folder / "test-0.parquet")
    for source in (folder, folder / "test-0.parquet"):
        command[2] = f"--problems={source}"
        assert main([*command, f"--out={out}"]) == 0
        assert capsys.readouterr().out == "sound: 3 of 5 pass\n"
    write_lines(folder / "more.jsonl", [{**JAVASCRIPT.record, "name": "more"}])
    judge.before = {2: interruption}
    command[2] = f"--problems={folder}"
    assert main([*command, f"--out={out}"]) == 130
    write_lines(folder / "more.jsonl", [{**JAVASCRIPT.record, "name": "others"}])
    assert main([*command, f"--out={out}"]) == 2, "a file of the folder has changed"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"language": "lua"}, "are in 'lua', not in 'js'"),
        ({"prompt": "function thrice(n) {\n"}, "continue another prompt"),
        ({"language": 3}, "field 'language' is 3"),
        ({"prompt": None}, "field 'prompt' is None"),
        ({"prompt": JAVASCRIPT.prompt + "\n"}, ""),
        ({"language": "js"}, ""),
    ],
)
def test_a_folder_of_completions_is_of_these_problems(judge, command, out, tmp_path, capsys, fields, words):
    folder = tmp_path / "multipl-e"
    folder.mkdir()
    record = {"name": "twice", "prompt": JAVASCRIPT.prompt, "completions": ["x"], **fields}
    (folder / "twice.json").write_text(json.dumps(record))
    command[-1] = f"--completions={folder}"
    judge.judge_all = lambda items: (Judgement("twice", "OK", 0, "", "", 0.5) for _ in items)
    assert main([*command, f"--out={out}"]) == (2 if words else 0)
    error = capsys.readouterr().err
    assert words in error and ("twice.json: " in error) == bool(words)


@pytest.mark.parametrize(
    "flag", ["--timeout=-1", "--timeout=nan", "--timeout=1e6", "--timeout=1e300", "--workers=0", "--workers=-2"]
)
def test_a_number_out_of_range_names_its_flag(command, out, capsys, flag):
    assert main([*command, f"--out={out}", flag]) == 2
    assert flag.partition("=")[0] in capsys.readouterr().err and not out.exists()


@needs("js")
def test_real_judgements_are_continued(command, out, begun, tmp_path, monkeypatch):
    lines = [{"name": "twice", "completion": text} for text in ("  return 2 * n;\n}", "  return n;\n}")]
    write_lines(tmp_path / "completions.jsonl", lines)
    with monkeypatch.context() as patch:
        patch.setattr(verdict_lines.atomic, "write", lambda *_: interruption())
        assert main([*command, f"--out={out}"]) == 130
    begun.write_bytes(begun.read_bytes().replace(b'"seconds": ', b'"seconds": 111', 1)[:-9])
    assert main([*command, f"--out={out}"]) == 0
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert (first["status"], second["status"]) == ("OK", "Exception")
    assert first["seconds"] > 100 > second["seconds"]
