"""The commands on small files: check, run, compare; resuming, passing ids through, one message for each mistake."""

import csv
import dataclasses
import gzip
import json
import shutil
import sys

import huggingface_hub
import pytest
from huggingface_hub import errors
from recorded import DATA, needs, needs_data
from test_cheats import JAVASCRIPT, PYTHON

from azr_jax.evaluation.__main__ import main
from azr_jax.evaluation.judging.judge import Judgement
from azr_jax.evaluation.languages.known import known_language, known_languages
from azr_jax.evaluation.problems import files, records
from azr_jax.evaluation.problems.records import from_record
from azr_jax.evaluation.scoring import results
from azr_jax.evaluation.scoring.results import Results, result_of
from executors import LANGUAGES

MODEL = "azr_jax/embedded/azr-tiny"
SETTINGS = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 16, "language": "js"}


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def check(tmp_path, problems, completions, *flags, language="js"):
    out = tmp_path / "out.jsonl"
    given = [f"--language={language}", f"--problems={problems}", f"--completions={completions}", f"--out={out}"]
    status = main(["check", *given, *flags])
    return status, [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


@needs("js")
def test_check_writes_a_line_for_each_completion_in_order(tmp_path, capsys):
    problems = write_lines(tmp_path / "problems.jsonl", [JAVASCRIPT.record])
    texts = ["  return 2 * n;\n}", "  process.exit(0);\n}", "  return ][;\n}"]
    lines = [{"id": number, "name": "twice", "completion": text} for number, text in enumerate(texts)]
    completions = write_lines(tmp_path / "completions.jsonl", lines)
    status, lines = check(tmp_path, problems, completions, "--compat=both")
    assert status == 0
    assert [line["id"] for line in lines] == [0, 1, 2]
    assert [line["status"] for line in lines] == ["OK", "Exception", "SyntaxError"]
    assert [line["multipl_e_status"] for line in lines] == ["OK", "OK", "SyntaxError"]
    assert {"name", "status", "exit_code", "stdout", "stderr", "seconds"} <= set(lines[0])
    assert capsys.readouterr().out == "sound: 1 of 3 pass\nmultipl-e: 2 of 3 pass\n"


@pytest.mark.parametrize(
    ("problem", "completion", "words"),
    [
        ({"name": "x"}, {"name": "twice", "completion": ""}, ("line 1", "statement")),
        ({"name": "x", "tests": "f(1)"}, {"name": "twice", "completion": ""}, ("line 1", "'language'")),
        ({"task_id": "x", "test": "f(1)"}, {"name": "x", "completion": ""}, ("line 1", "'prompt' is None", "McEval")),
        (None, {"name": "nobody", "completion": ""}, ("line 1", "'nobody'")),
        (None, {"name": "twice", "completion": 3}, ("line 1", "'completion'", "3")),
        (None, {"name": "twice", "completion": "", "mode": "odd"}, ("line 1", "'odd'", "full")),
        (None, [], ("line 1", "JSON object")),
    ],
)
def test_a_malformed_line_is_one_message(tmp_path, capsys, problem, completion, words):
    problems = write_lines(tmp_path / "problems.jsonl", [problem or JAVASCRIPT.record])
    status, _ = check(tmp_path, problems, write_lines(tmp_path / "completions.jsonl", [completion]))
    error = capsys.readouterr().err
    assert status == 2 and error.startswith("error: ") and error.count("\n") == 1
    assert all(word in error for word in words)


def test_a_missing_interpreter_is_one_message(tmp_path, capsys, monkeypatch):
    absent = dataclasses.replace(LANGUAGES["javascript"], find=lambda: None)
    monkeypatch.setitem(LANGUAGES, "javascript", absent)
    problems = write_lines(tmp_path / "problems.jsonl", [JAVASCRIPT.record])
    completions = write_lines(tmp_path / "completions.jsonl", [{"name": "twice", "completion": ""}])
    assert check(tmp_path, problems, completions)[0] == 2
    error = capsys.readouterr().err
    assert "no javascript interpreter found" in error and absent.install_hint in error and error.count("\n") == 1


def test_unknown_language_and_missing_files_are_one_message(tmp_path, capsys):
    assert check(tmp_path, "nowhere.jsonl", "nowhere.jsonl", language="cobol")[0] == 2
    assert "--language='cobol'" in capsys.readouterr().err
    assert check(tmp_path, "nowhere.jsonl", "nowhere.jsonl")[0] == 2
    assert "nowhere.jsonl: no such file" in capsys.readouterr().err


def judged(passes, **more):
    judgement = Judgement("twice", "OK" if passes else "Exception", 0 if passes else 1, "", "", 0.1, "program")
    return result_of(judgement, more)


def test_results_are_multipl_e_s_and_resume(tmp_path):
    store = Results(tmp_path / "a", SETTINGS)
    assert not store.is_done(JAVASCRIPT)
    store.write(JAVASCRIPT, [judged(True), judged(False)], ["  return 2 * n;\n}", ""])
    store.write_manifest({})
    with gzip.open(tmp_path / "a" / "twice.results.json.gz", "rt") as file:
        record = json.load(file)
    assert record["tests"] == JAVASCRIPT.tests and record["temperature"] == 0.0
    assert record["completions"] == ["  return 2 * n;\n}", ""] and record["stop_tokens"] == ["\nfunction "]
    assert set(record["results"][0]) == {"program", "timestamp", "stdout", "stderr", "exit_code", "status"}
    assert Results(tmp_path / "a", SETTINGS).is_done(JAVASCRIPT)
    # A record may have a name beside what names it.
    named = {"question_id": "q1", "name": "Two Sum", "statement": "Add.", "tests": [{"input": "1", "output": "1"}]}
    problem = records.stdin_problem(named, "js")
    store.write(problem, [judged(True)], ["x"])
    assert store.is_done(problem) and "q1" in results.read(store.folder)
    assert results.counts(results.read(tmp_path / "a")) == [(1, 1), (2, 1)]
    with pytest.raises(ValueError, match="max_tokens=16, not 17"):
        Results(tmp_path / "a", {**SETTINGS, "max_tokens": 17})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        Results(tmp_path / "b", SETTINGS)


def test_a_partial_first_write_is_not_taken_for_another_evaluation(tmp_path):
    (tmp_path / ".evaluation.json.partial").write_text('{"settings"')
    store = Results(tmp_path, SETTINGS)
    store.write_manifest({})
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_what_the_executors_failed_on_is_done_again(tmp_path):
    store = Results(tmp_path, SETTINGS)
    store.write(JAVASCRIPT, [judged(True), judged(False, infrastructure=True)], ["", ""])
    assert not store.is_done(JAVASCRIPT)
    store.write(JAVASCRIPT, [judged(True), judged(False)], ["", ""])
    assert store.is_done(JAVASCRIPT)
    (tmp_path / "twice.results.json.gz").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"twice\.results\.json\.gz: no results file"):
        store.is_done(JAVASCRIPT)


def test_results_of_evalplus_have_no_slash_in_their_names(tmp_path):
    store = Results(tmp_path, SETTINGS)
    store.write(PYTHON, [judged(True)], [""])
    assert [path.name for path in tmp_path.glob("*.gz")] == ["HumanEval_9999.results.json.gz"]


def test_compare_counts_what_only_one_solves(tmp_path, capsys):
    for folder, passes in (("a", [True, True, False]), ("b", [False, True, False])):
        store = Results(tmp_path / folder, SETTINGS)
        store.write_manifest({"interpreter": folder})
        for number, is_right in enumerate(passes):
            more = {"infrastructure": True} if (folder, number) == ("b", 2) else {}
            problem = from_record({**JAVASCRIPT.record, "name": f"p{number}"})
            store.write(problem, [judged(is_right, **more)], [""])
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out
    assert "66.7%" in printed and "33.3%" in printed
    assert "only A solves 1, only B solves 0; McNemar's exact test p = 1" in printed
    assert "the interpreters differ" in printed
    assert printed.count("the executors failed on") == printed.count("failed on 1 of B's samples, which") == 1
    assert printed.count("evaluation is not finished") == 2
    assert main(["compare", str(tmp_path / "a"), str(tmp_path)]) == 2


@needs("js")
def test_run_scores_the_embedded_model_and_goes_on_where_it_stopped(tmp_path, capsys):
    long = {**JAVASCRIPT.record, "name": "long", "prompt": "// many words\n" * 400 + JAVASCRIPT.prompt}
    problems = write_lines(tmp_path / "problems.jsonl", [JAVASCRIPT.record, long])
    command = [f"--model={MODEL}", "--language=javascript", f"--problems={problems}", f"--out={tmp_path / 'out'}"]
    command += ["--max_tokens=8", "--slots=2", "--compute_dtype=float32"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "sound: pass@1 0.0% (95% interval 0.0% to 65.8%)" in printed and "PromptTooLong 1" in printed
    # What is done again is the one that needs no sampling: compiling the sampler a second time would cost seconds.
    kept = tmp_path / "out" / "twice.results.json.gz"
    before = kept.stat().st_mtime_ns
    (tmp_path / "out" / "long.results.json.gz").unlink()
    assert main(command) == 0
    again = capsys.readouterr()
    assert again.out.splitlines()[2:] == printed.splitlines()[2:]
    assert again.err.endswith("sampled 0 of 1, judged 1 of 1\n")
    assert "1 of 2 responses hit max_tokens=8" in printed
    assert kept.stat().st_mtime_ns == before
    manifest = results.read_manifest(tmp_path / "out")
    assert manifest["settings"]["model"]["path"] == MODEL and manifest["interpreter"].startswith("javascript ")
    assert main(["table", str(tmp_path / "out"), "--format=csv"]) == 0
    head, row = csv.reader(capsys.readouterr().out.splitlines())
    fields = dict(zip(head, row, strict=True))
    wanted = {
        "prompt": "completion",
        "problems": "2",
        "score": "pass@1",
        "value": "0.0",
        "high": "65.8",
        "own_tests": "0",
    }
    assert wanted.items() <= fields.items()
    assert (fields["model"], fields["interpreter"], fields["finished"]) == (
        MODEL,
        manifest["interpreter"],
        manifest["finished"],
    )


@needs("js")
def test_results_keep_the_interpreter_that_judged_them(tmp_path, capsys):
    long = {**JAVASCRIPT.record, "prompt": "// many words\n" * 400 + JAVASCRIPT.prompt}
    problems, out = write_lines(tmp_path / "problems.jsonl", [long]), tmp_path / "out"
    command = [f"--model={MODEL}", "--language=js", f"--problems={problems}", f"--out={out}", "--max_tokens=8"]
    assert main(command) == main(command) == 0
    manifest = results.read_manifest(out) | {"interpreter": "javascript 1.2.3"}
    (out / results.MANIFEST).write_text(json.dumps(manifest))
    assert main(command) == 2 and "was begun with javascript 1.2.3" in capsys.readouterr().err
    assert results.read_manifest(out) == manifest


def test_a_table_of_what_is_not_finished_is_one_message(tmp_path, capsys):
    Results(tmp_path, SETTINGS).write_manifest({"interpreter": "javascript"})
    assert main(["table", str(tmp_path)]) == 2
    assert "is not finished" in capsys.readouterr().err


@needs_data
def test_benchmark_files_are_found_and_what_is_missing_is_named(tmp_path, monkeypatch):
    source = files.locate("humaneval", known_language("rkt"), str(DATA))
    assert source == DATA / "multipl-e" / "humaneval-rkt.jsonl"
    assert files.load(source, "rkt") == records.load(source)
    assert files.data_version(source).startswith("sha256 ")
    with pytest.raises(FileNotFoundError, match="hf download nuprl/MultiPL-E --repo-type dataset"):
        files.locate("humaneval", known_language("rkt"), str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"curl -L -o .*HumanEvalPlus"):
        files.locate("humaneval", known_language("py"), str(tmp_path))
    monkeypatch.delenv("AZR_JAX_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"curl -L -o .*HumanEvalPlus"):
        files.locate("humaneval", known_language("py"))
    with pytest.raises(ValueError, match="--benchmark='apps'"):
        files.locate("apps", known_language("rkt"), str(DATA))


def test_the_version_of_data_from_the_hub_has_its_revision(tmp_path):
    cached = tmp_path / "datasets--nuprl--MultiPL-E" / "snapshots" / ("0123456789abcdef" * 2)
    file = cached / "humaneval-rkt" / "test-0.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert files.data_version(file) == "nuprl/MultiPL-E@0123456789ab sha256 e3b0c44298fc1c14"


@pytest.mark.parametrize(
    ("benchmark", "repository"),
    [("ag-lcb-x", "nuprl/Ag-LiveCodeBench-X"), ("multi-lcb", "livecodebench/code_generation_lite")],
)
def test_a_benchmark_of_several_files_is_read_from_the_cache_of_the_hub(tmp_path, monkeypatch, benchmark, repository):
    """As `hf download REPOSITORY` leaves it, without a connection."""
    from huggingface_hub import constants

    monkeypatch.delenv("AZR_JAX_DATA", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / ".cache" / "hub"))
    language, revision = known_language("rkt"), "0123456789abcdef" * 2 + "01234567"
    with pytest.raises(FileNotFoundError, match=f"(?s)did not give {repository} .*hf download {repository}"):
        files.locate(benchmark, language)
    folder = tmp_path / ".cache" / "hub" / f"datasets--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / revision / "data"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    (snapshot.parent / "README.md").write_text("")
    with pytest.raises(FileNotFoundError, match=f"(?s)holds no data.*hf download {repository}"):
        files.locate(benchmark, language)
    test = json.dumps([{"input": "1", "output": "1"}])
    record = {"question_id": "q", "question_content": "Add.", "private_test_cases": test}
    (snapshot / "test.jsonl").write_text(json.dumps(record) + "\n")
    source = files.locate(benchmark, language)
    assert [problem.name for problem in files.load(source, "rkt")] == ["q"]
    assert files.data_version(source).startswith(f"{repository}@0123456789ab sha256 ")


def test_a_download_from_the_hub_that_breaks_off_is_one_message(tmp_path, capsys, monkeypatch):
    """The hub's client raises what its HTTP library does, which is no OSError."""

    def broken(*_, **__):
        raise errors.HTTPError("peer closed the connection")

    monkeypatch.delenv("AZR_JAX_DATA", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    command = ["--model=azr_jax/embedded/azr-tiny", "--language=lua", "--benchmark=ag-lcb-x", f"--out={tmp_path / 'o'}"]
    assert main(command) == 2
    assert "did not give nuprl/Ag-LiveCodeBench-X (peer closed the connection); no ag-lcb-x" in capsys.readouterr().err


@needs_data
@pytest.mark.parametrize(("name", "file"), [("multipl_e/humaneval-rkt", "rkt"), ("evalplus/humaneval", "py")])
def test_builders_give_the_files_problems_without_tensorflow(tmp_path, monkeypatch, name, file):
    import tensorflow_datasets as tfds

    import azr_jax.evaluation.problems.builders  # noqa: F401 - registers them

    monkeypatch.setenv("AZR_JAX_DATA", str(DATA))
    problems = files.load(files.locate("humaneval", known_language(file)), file)
    builder = tfds.builder(name, data_dir=tmp_path / "tfds", file_format="array_record")
    builder.download_and_prepare()
    examples = sorted(builder.as_data_source("test"), key=lambda example: example["index"])
    assert [example["prompt"].decode() for example in examples] == [problem.prompt for problem in problems]
    if file == "py":
        first = json.loads(examples[0]["base_input"])
        assert first == json.loads(json.dumps(problems[0].base_input))  # pyright: ignore[reportAttributeAccessIssue]
    assert "tensorflow" not in sys.modules


def test_builders_of_other_benchmarks_give_the_files_problems(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    import azr_jax.evaluation.problems.builders  # noqa: F401 - registers them

    monkeypatch.setenv("AZR_JAX_DATA", str(tmp_path))
    tests = json.dumps([{"input": "1", "output": "2", "testtype": "stdin"}])
    lcb = {"question_id": "q", "question_content": "Add one.", "private_test_cases": tests}
    (tmp_path / "ag-lcb-x.jsonl").write_text(json.dumps(lcb) + "\n")
    (tmp_path / "multi-lcb.jsonl").write_text(json.dumps(lcb | {"public_test_cases": tests}) + "\n")
    mceval = {
        "task_id": "Lua/1",
        "prompt": "function f()",
        "test": "assert(f() == 1)",
        "entry_point": "f",
        "level": "easy",
    }
    (tmp_path / "Lua.jsonl").write_text(json.dumps(mceval) + "\n")
    examples = {}
    for name in ("ag_lcb_x", "multi_lcb", "mceval/lua"):
        builder = tfds.builder(name, data_dir=tmp_path / "tfds", file_format="array_record")
        builder.download_and_prepare()
        (example,) = builder.as_data_source("test")
        examples[name] = {key: value.decode() for key, value in example.items() if isinstance(value, bytes)}
    test = {"input": "1", "output": "2"}
    assert examples["ag_lcb_x"] == {"name": "q", "prompt": "Add one.", "tests": json.dumps([test])}
    assert json.loads(examples["multi_lcb"]["tests"]) == [test, test]
    assert mceval.items() <= examples["mceval/lua"].items()


def test_a_save_names_its_own_step(tmp_path):
    from azr_jax.evaluation.scoring.model import open_model

    save = tmp_path / "checkpoints" / "4"
    save.mkdir(parents=True)
    with pytest.raises(ValueError, match="the save of step 4 already"):
        open_model(str(save), 8, "", "float32")
    with pytest.raises(ValueError, match="not a run of azr_jax"):
        open_model(str(save), None, "", "float32")
    with pytest.raises(ValueError, match="--base_model='m'"):
        open_model(MODEL, None, "m", "float32")
    with pytest.raises(FileNotFoundError, match="no such directory"):
        open_model(str(tmp_path / "no where"), None, "", "float32")


def test_a_models_digest_is_of_everything_that_its_answers_depend_on(tmp_path):
    from azr_jax.evaluation.scoring.model import open_model

    folder = tmp_path / "a folder with spaces"
    shutil.copytree(MODEL, folder)

    def digest():
        return open_model(str(folder), None, "", "float32").identity["digest"]

    digests = [open_model(MODEL, None, "", "bfloat16").identity["digest"], digest()]
    assert digests[0] == digests[1]
    (folder / "README.md").write_text("no part of it")
    assert digest() == digests[0]
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = b"\0\0\0\0"
    weights.write_bytes(content)
    digests.append(digest())
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    digests.append(digest())
    assert len(set(digests)) == 3


def test_pass_at_k_of_two_results_and_their_figure(tmp_path, capsys):
    """A base model that solves a problem rarely, and a trained one that solves it always and the other never."""
    for folder, correct in (("base", (2, 1)), ("trained", (8, 0))):
        store = Results(tmp_path / folder, SETTINGS | {"seed": len(folder)})
        store.write_manifest({"data": folder, **({"finished": "now"} if folder == "base" else {})})
        for name, count in zip(("p", "q"), correct, strict=True):
            problem = from_record({**JAVASCRIPT.record, "name": name})
            broken = {"infrastructure": True} if folder == "base" and name == "q" else {}
            samples = [judged(number < count, **(broken if number > 5 else {})) for number in range(8)]
            store.write(problem, samples, [""] * 8)
    figure = tmp_path / "figure.png"
    assert main(["compare", str(tmp_path / "base"), str(tmp_path / "trained"), f"--figure={figure}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    passes = [line for line in lines if line.startswith("pass@")]
    assert [line.split(":")[0] for line in passes] == ["pass@1", "pass@2", "pass@4", "pass@8"]
    assert "A 18.8%" in passes[0] and "B 50.0%" in passes[0] and "B - A +31.2 points" in passes[0]
    assert "B - A -50.0 points" in passes[-1]
    assert "note: seed differs: 4 and 7" in lines and "note: the data differ: base and trained" in lines
    assert "note: the executors failed on 2 of A's samples, which count as not solved" in lines
    assert [line[:37] for line in lines if "not finished" in line] == ["note: B's evaluation is not finished:"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    for name, words in {"figure": "ends in .png", "figure.doc": "ends in .png", "no/figure.png": "no folder"}.items():
        command = ["compare", str(tmp_path / "base"), str(tmp_path / "trained"), f"--figure={tmp_path / name}"]
        assert main(command) == 2
        assert words in (said := capsys.readouterr()).err and not said.out
    both = ["compare", str(tmp_path / "base"), str(tmp_path / "trained")]
    assert main([*both, "--k=1,8"]) == 0
    assert [line[:6] for line in capsys.readouterr().out.splitlines() if line.startswith("pass@")] == [
        "pass@1",
        "pass@8",
    ]
    assert main([*both, "--k=9"]) == 2 and "--k=9: use numbers from 1 to 8" in capsys.readouterr().err
    Results(tmp_path / "base", SETTINGS | {"seed": 4}).write(problem, [judged(True)] * 3, [""] * 3)
    assert main(both) == 0
    assert "a problem has 3 samples, another 8: pass@k goes up to the fewer" in capsys.readouterr().out


def test_kept_samples_are_read_again_and_a_cut_line_is_not(tmp_path):
    store = Results(tmp_path, SETTINGS)
    store.write_manifest({})
    store.keep_sample(JAVASCRIPT, 1, judged(True), "text")
    store.keep_sample(JAVASCRIPT, 2, judged(False, infrastructure=True), "text")
    with (tmp_path / "samples.jsonl").open("ab") as file:
        file.write(b'3\nnull\n[]\n{"name": "twice"}\n{"name": [], "number": 0, "result": {}, "completion": ""}\n')
        for number, result in (('"0"', '{"status": "OK"}'), ("-1", '{"status": "OK"}'), ("0", "{}"), ("0", "null")):
            line = f'{{"name": "twice", "number": {number}, "result": {result}, "completion": ""}}\n'
            file.write(line.encode())
        file.write(b'{"name": "twice", "numb')
    store.keep_sample(JAVASCRIPT, 3, judged(False), "other")
    kept = Results(tmp_path, SETTINGS).kept_samples([JAVASCRIPT], 3)
    assert set(kept["twice"]) == {1} and kept["twice"][1][1] == "text"
    assert set(store.kept_samples([JAVASCRIPT], 4)["twice"]) == {1, 3}
    # With a smaller --limit the samples of further problems stay.
    beyond = from_record({**JAVASCRIPT.record, "name": "a/b"})
    store.keep_sample(beyond, 2, judged(True), "c")
    samples = [judged(True), judged(False, infrastructure=True), judged(False)]
    store.write(JAVASCRIPT, samples, ["d", "e", "f"])
    store.forget_samples()
    # Of a file only what the executors failed on is done again.
    kept = Results(tmp_path, SETTINGS).kept_samples([JAVASCRIPT, beyond], 4)
    assert {name: {number: sample[1] for number, sample in cell.items()} for name, cell in kept.items()} == {
        "twice": {0: "d", 2: "f"},
        "a/b": {2: "c"},
    }
    store.write(beyond, samples, ["d", "e", "f"])
    store.forget_samples()
    assert not (tmp_path / "samples.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--k=2"], "--k=2: use numbers from 1 to --n=1"), (["--n=4", "--temperature=1", "--k=0"], "--k=0")],
)
def test_a_k_that_the_samples_do_not_allow_is_one_message(capsys, flags, words):
    assert main([f"--model={MODEL}", "--language=js", "--problems=p", "--out=o", *flags]) == 2
    assert words in capsys.readouterr().err


def test_the_help_names_every_language(capsys):
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert known_languages().keys() <= set(words)


def test_ctrl_c_is_one_line(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for module, command in (("table", ["table", "x"]), ("compare", ["compare", str(tmp_path), str(tmp_path)])):
        monkeypatch.setattr(f"azr_jax.evaluation.commands.{module}.results.read_manifest", interrupted)
        monkeypatch.setattr(f"azr_jax.evaluation.commands.{module}.results.read", interrupted)
        assert main(command) == 130
        assert capsys.readouterr().err == "interrupted; nothing was changed\n"


def test_the_speed_of_judging_times_both_ways(tmp_path, capsys):
    more = {name: list(getattr(PYTHON, name)) for name in ("base_input", "plus_input")}
    record = PYTHON.record | more | {"canonical_solution": PYTHON.canonical_solution}
    problems = write_lines(tmp_path / "problems.jsonl", [record])
    lines = [{"name": PYTHON.name, "completion": "    return 2 * n\n"}]
    completions = write_lines(tmp_path / "completions.jsonl", lines)
    assert main(["speed", "--language=python", f"--problems={problems}", f"--completions={completions}"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["language"], row["problems"], row["passed"], row["differing"]) == ("python", 1, 1, [])
    assert row["ratio"] == pytest.approx(row["pool_s"] / row["one_by_one_s"], rel=0.1)


@needs("lua")
def test_the_speed_of_judging_says_what_keeps_it_from_comparing(tmp_path, capsys):
    tests = "lu = require('luaunit')\n\nfunction test_humaneval()\nlocal candidate = g\n"
    tests += "    lu.assertEquals(candidate(1), 1)\nend\n\nos.exit(lu.LuaUnit.run())"
    record = {"name": "p", "language": "lua", "prompt": "local function g(x)\n", "tests": tests}
    problems = write_lines(tmp_path / "problems.jsonl", [record])
    status = main(["speed", "--language=lua", f"--problems={problems}"])
    # Where luaunit is installed, MultiPL-E's way works.
    assert status == (2 if "the tests need luaunit" in capsys.readouterr().err else 0)


def test_the_speed_of_judging_refuses_problems_of_another_language(tmp_path, capsys):
    problems = write_lines(tmp_path / "problems.jsonl", [JAVASCRIPT.record])
    assert main(["speed", "--language=racket", f"--problems={problems}"]) == 2
    assert "is a problem in 'js', not in 'rkt'" in capsys.readouterr().err
    other = write_lines(tmp_path / "completions.jsonl", [{"name": "nobody", "completion": ""}])
    assert main(["benchmark", "--language=js", f"--problems={problems}", f"--completions={other}"]) == 2
    assert "none is for a problem of this benchmark" in capsys.readouterr().err
