"""Problem files that a person gives: each mistake is one message with its line, and the two EvalPlus data sets."""

import gzip
import json

import pytest
from recorded import DATA, needs_data

from azr_jax.evaluation.__main__ import main, parser
from azr_jax.evaluation.commands import run
from azr_jax.evaluation.judging import evalplus
from azr_jax.evaluation.judging.once import Once
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files, records
from azr_jax.evaluation.scoring import results, summary
from executors import Status, Verdict

PROBLEM = {"name": "p", "language": "js", "prompt": "", "tests": "test()", "stop_tokens": ["\n}"]}
PLUS = {"task_id": "Mbpp/2", "prompt": "", "entry_point": "f", "canonical_solution": "", "base_input": [[[1], [2]]]}
PLUS |= {"plus_input": {}, "atol": 0}


def test_a_byte_order_mark_and_blank_lines_are_skipped(tmp_path):
    file = tmp_path / "problems.jsonl"
    file.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(PROBLEM).encode() + b"\r\n\n")
    assert [problem.name for problem in records.load(file)] == ["p"]
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(PROBLEM).encode())
    assert [problem.name for problem in records.load(file)] == ["p"]


def test_a_damaged_gzip_file_is_named(tmp_path):
    file = tmp_path / "problems.jsonl.gz"
    whole = gzip.compress(b"".join(json.dumps(PROBLEM | {"name": str(n)}).encode() + b"\n" for n in range(999)))
    file.write_bytes(whole)
    assert len(records.load(file)) == 999
    middle = len(whole) // 2
    for content in (whole[:middle], whole[:middle] + b"\xff" * 99 + whole[middle:], json.dumps(PROBLEM).encode()):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"problems\.jsonl\.gz(: damaged, or no gzip file|, line \d+: )"):
            records.load(file)


@pytest.mark.parametrize("text", ["[" * 200_000, "1" * 5000, '{"name": "\xff"}', "{", "[1]", '{"name": 1e999}'])
def test_a_malformed_line_is_named(tmp_path, text):
    file = tmp_path / "problems.jsonl"
    file.write_bytes(json.dumps(PROBLEM).encode() + b"\n" + text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"problems\.jsonl, line 2: "):
        records.load(file)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (PROBLEM | {"stop_tokens": "\n"}, "'stop_tokens' is '.*list of texts"),
        (PROBLEM | {"stop_tokens": [""]}, "'stop_tokens' holds an empty text"),
        (PROBLEM | {"tests": " \n"}, "'tests' is empty: every completion would pass"),
        (PLUS | {"base_input": []}, "'plus_input' are empty: every completion would pass"),
        (PLUS | {"atol": None}, "'atol' is None"),
        (PLUS | {"atol": "1e-6"}, "'atol' is '1e-6'"),
        (PLUS | {"atol": 10**400}, "'atol' is 1000"),
        (PLUS | {"atol": float("nan")}, "'atol' is nan"),
        (PLUS | {"base_input": [1, 2]}, "'base_input' is .1, 2.*list of argument lists"),
        (PLUS | {"base_input": [[1, 2]]}, "are not what Mbpp/2 takes"),
        (PLUS | {"task_id": "Mbpp/two"}, "'task_id' is 'Mbpp/two'.*Mbpp/NUMBER"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(record, words):
    with pytest.raises(ValueError, match=words):
        records.from_record(record)


@needs_data
@pytest.mark.parametrize("file", ["HumanEvalPlus-v0.1.10.jsonl.gz", "MbppPlus-v0.2.0.jsonl.gz"])
def test_no_reference_solution_of_evalplus_is_cut_at_its_stop_tokens(file):
    for problem in records.load(DATA / "evalplus" / file):
        assert isinstance(problem, records.EvalPlusProblem)
        cut = [stop for stop in problem.stop_tokens if stop in problem.canonical_solution]
        assert not cut, problem.name


def test_the_wanted_release_of_evalplus_is_chosen(tmp_path):
    for name in ("MbppPlus-Mini-v0.2.0.jsonl", "MbppPlus-NoExtreme.jsonl", "MbppPlus-v0.1.0.jsonl"):
        (tmp_path / name).touch()
    assert files.find(tmp_path, "mbpp", known_language("py")) == tmp_path / "MbppPlus-v0.1.0.jsonl"
    (tmp_path / "evalplus").mkdir()
    for name in ("MbppPlus.jsonl", "evalplus/MbppPlus-v0.2.0.jsonl.gz"):
        (tmp_path / name).touch()
        assert files.find(tmp_path, "mbpp", known_language("py")) == tmp_path / name


def test_a_benchmark_file_is_checked_like_any_other(tmp_path):
    file = tmp_path / "humaneval-rkt.jsonl"
    file.write_text(json.dumps(PROBLEM))
    with pytest.raises(ValueError, match=r"humaneval-rkt\.jsonl: p is a problem in 'js', not in 'rkt'"):
        files.load(file, "rkt")
    parquet = tmp_path / "test-0.parquet"
    parquet.write_bytes(b"PAR1 cut off")
    with pytest.raises(ValueError, match=r"test-0\.parquet: no parquet file .*download it again"):
        files.load(parquet, "js")
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    rows = [PROBLEM, {key: value for key, value in PROBLEM.items() if key != "tests"}]
    write_table(pyarrow.Table.from_pylist(rows), parquet)
    with pytest.raises(ValueError, match=r"test-0\.parquet, row 2: field 'tests' is None"):
        files.load(parquet, "js")


def test_results_files_of_another_form_are_named(tmp_path):
    file = tmp_path / "p.results.json.gz"
    good = gzip.compress(json.dumps({"name": "p", "results": [{"status": "OK", "exit_code": 0}]}).encode())
    file.write_bytes(good)
    assert results.counts(results.read(tmp_path)) == [(1, 1)]
    texts = ['{"name": "p", "results": []}', '{"name": "p", "results": [5]}', '{"name": "p", "results": [{}]}']
    texts += ['{"name": ["p"], "results": [{"status": "OK"}]}', "[" * 200_000]
    for content in [*(gzip.compress(text.encode()) for text in texts), good[:12] + b"\xff" * 9 + good[21:], good[:-9]]:
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"p\.results\.json\.gz: no results file"):
            results.read(tmp_path)


def test_problems_that_would_share_a_results_file_are_named(tmp_path):
    store = results.Results(tmp_path, {})
    clashing = [records.from_record(PROBLEM | {"name": name}) for name in ("a/b", "a_b")]
    store.check_names(clashing[:1])
    with pytest.raises(ValueError, match="'a/b' and 'a_b' would have one results file"):
        store.check_names(clashing)
    for name in ("", "x" * 300, "a\0b", "a\ud800"):
        with pytest.raises(ValueError, match="can't name a results file"):
            store.check_names([records.from_record(PROBLEM | {"name": name})])


def test_results_are_of_one_interpreter(tmp_path):
    results.Results(tmp_path, {}).write_manifest({"interpreter": "racket 8.7"})
    results.Results(tmp_path, {}).check_interpreter("racket 8.7")
    with pytest.raises(ValueError, match=r"begun with racket 8\.7, and here is racket 8\.10: choose another --out"):
        results.Results(tmp_path, {}).check_interpreter("racket 8.10")


def test_fewer_than_ten_samples_are_scored_at_their_number_too():
    assert [summary.default_ks(samples) for samples in (1, 4, 20, 100)] == [[1], [1, 4], [1, 10], [1, 10, 100]]
    done = {"p": [{"status": "OK", "exit_code": 0}] + [{"status": "Exception", "exit_code": 1}] * 3}
    scores = summary.summarise(done, ["sound"], [1, 2], frozenset())["scores"]["sound"]
    assert (scores["pass@1"][0], scores["pass@2"][0]) == (0.25, 0.5)


def test_a_summary_counts_what_hit_max_tokens_and_scores_published_stop_tokens_apart():
    done = {
        "p": [{"status": "OK", "exit_code": 0, "stop_reason": "length", "published_stop_status": "Exception"}],
        "q": [{"status": "OK", "exit_code": 0, "stop_reason": "eos", "published_stop_status": "OK"}],
    }
    scores = summary.summarise(done, ["sound", summary.PUBLISHED_STOP], [1], frozenset())
    assert (scores["hit_max_tokens"], scores["responses"]) == (1, 2)
    assert [score["pass@1"][0] for score in scores["scores"].values()] == [1.0, 0.5]
    assert [summary.benchmark_name("mbpp", suffix) for suffix in ("py", "rkt")] == ["MBPP+", "MBPP"]
    assert summary.benchmark_name("file.jsonl", "py") == "file.jsonl"


@pytest.mark.parametrize("content", ["[", "[1]", '{"js": 5}', '{"js": [[]]}', "\xff"])
def test_a_damaged_list_of_unsatisfiable_problems_is_named(tmp_path, content):
    (tmp_path / "unsatisfiable.json").write_text(content, encoding="latin-1")
    file = tmp_path / "problems.jsonl"
    file.write_text(json.dumps(PROBLEM))
    command = [
        "--model=azr_jax/embedded/azr-tiny",
        "--language=js",
        f"--problems={file}",
        f"--data_dir={tmp_path}",
        "--out=nowhere",
    ]
    arguments = parser().parse_args(["run", *command])
    with pytest.raises(ValueError, match=r"unsatisfiable\.json: .*fix or remove it"):
        run.main(arguments)


def test_check_does_not_write_over_what_it_reads(tmp_path, capsys):
    file = tmp_path / "completions.jsonl"
    file.write_text('{"name": "p", "completion": ""}\n')
    status = main(["check", "--language=js", "--problems=p.jsonl", f"--completions={file}", f"--out={file}"])
    assert status == 2 and "would overwrite --completions" in capsys.readouterr().err
    assert file.read_text() == '{"name": "p", "completion": ""}\n'


def test_a_damaged_manifest_is_one_message(tmp_path, capsys):
    (tmp_path / "evaluation.json").write_text(
        '{"settings": {}, "finished": "now", "scores": {"sound": {"pass@1": []}}}'
    )
    assert main(["table", str(tmp_path)]) == 2
    assert f"{tmp_path}: its evaluation.json is damaged (KeyError('model'))" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"settings": {"model": "m"}}', "not a manifest"),
        ('{"settings": {"model": [1]}}', "not a manifest"),
        ('{"settings"', "no results of an evaluation (Expecting"),
        ("[" * 100_000, "no results of an evaluation (maximum recursion"),
    ],
)
def test_no_command_takes_a_damaged_manifest(tmp_path, capsys, text, words):
    (tmp_path / "evaluation.json").write_text(text)
    (tmp_path / "p.results.json").write_text('{"name": "p", "results": [{"status": "OK", "program": ""}]}')
    for command in (["compare", str(tmp_path)], ["export", "--format=livecodebench", "--out=o.json"], ["table"]):
        assert main([*command, str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert str(tmp_path) in error and words in error and error.count("\n") == 1


@pytest.mark.parametrize("numbers", [["a", 1, 2], [0.5], [0.5, 0.4, 0.6, 0.7], None])
def test_a_damaged_score_is_one_message(tmp_path, capsys, numbers):
    settings = dict.fromkeys(("benchmark", "language", "prompt", "n", "temperature", "max_tokens", "seed"), 1)
    settings |= {"compute_dtype": "float32", "model": {"path": "m", "step": None, "digest": "d"}}
    manifest = {"settings": settings, "finished": "now", "scored": 1, "interpreter": "i"}
    (tmp_path / "evaluation.json").write_text(json.dumps(manifest | {"scores": {"sound": {"pass@1": numbers}}}))
    assert main(["table", str(tmp_path)]) == 2
    assert f"{tmp_path}: its evaluation.json is damaged" in capsys.readouterr().err


def test_a_reference_solution_that_the_executors_failed_on_is_run_again():
    problem = records.from_record(PLUS | {"plus_input": [[[3], [4]]], "atol": 0})
    assert isinstance(problem, records.EvalPlusProblem)
    verdicts = [
        Verdict("", Status.INFRASTRUCTURE),
        Verdict("", Status.OK, ("[]", "[0.5, 0.5]")),
        *[Verdict("", Status.OK, ("0", "-1"))] * 4,
    ]
    cache = Once()
    judged = [evalplus.judge(lambda *_: verdicts.pop(0), cache, problem, "") for _ in range(3)]
    assert [result.infrastructure for result in judged] == [True, False, False] and not verdicts
