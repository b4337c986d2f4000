"""Benchmark problems as data: records of MultiPL-E, EvalPlus, McEval, and of programs that read standard input."""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from absl import logging

from azr_jax.evaluation.problems.evalplus_inputs import arguments_of
from azr_jax.evaluation.problems.packed import CallsFunctionError, Packed, Pairs

_TEXT_FIELDS = ("name", "language", "prompt", "tests")
_EVALPLUS_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")
_EVALPLUS_STOPS = ("\nif __name__", "\ndef main(", "\nprint(")
_HUMANEVAL_STOPS = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
_MBPP_STOPS = ('\n"""', "\nassert")
AGNOSTICS, MULTI_LCB, OWN = "agnostics", "multi-lcb", "own"


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A problem of MultiPL-E or McEval. `language` is MultiPL-E's suffix (rkt, ...); `record` the whole line.

    `own_tests`: the tests are free text, as McEval's: they run after the program.
    """

    name: str
    language: str
    prompt: str
    tests: str
    stop_tokens: tuple[str, ...]
    record: Mapping[str, Any]
    own_tests: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class EvalPlusProblem:
    """A HumanEval+ or MBPP+ problem. Inputs are argument lists as JSON has them; `atol` the float tolerance."""

    name: str
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: tuple[Any, ...]
    plus_input: tuple[Any, ...]
    atol: float
    record: Mapping[str, Any]

    language = "py"

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """EvalPlus' own for base models (v0.3.1, provider/utility.py); its end-of-text words are the tokenizer's here.

        An MBPP+ prompt is a docstring, and an answer to it imports and defines as many functions as it likes.
        """
        return _EVALPLUS_STOPS + (_MBPP_STOPS if self.name.startswith("Mbpp/") else _HUMANEVAL_STOPS)


@dataclasses.dataclass(frozen=True, slots=True)
class StdinProblem:
    """A problem of whole programs in any language: a statement, and what is printed for each standard input.

    `language` is that of the solution. `tests`: (input, output) of each, or as LiveCodeBench packs them. `form`: whose
    protocol the record has, one of AGNOSTICS, MULTI_LCB and OWN.
    """

    name: str
    language: str
    prompt: str
    tests: Pairs | Packed
    record: Mapping[str, Any]
    form: str

    stop_tokens = ()

    @property
    def pairs(self) -> Pairs:
        """(input, output) of each test."""
        return self.tests.pairs if isinstance(self.tests, Packed) else self.tests

    @property
    def stdin(self) -> tuple[str, ...]:
        """The input of each test."""
        return tuple(text for text, _ in self.pairs)

    @property
    def expected(self) -> tuple[str, ...]:
        """The output of each test."""
        return tuple(text for _, text in self.pairs)


AnyProblem = Problem | EvalPlusProblem | StdinProblem
_Kind = TypeVar("_Kind", bound=AnyProblem)


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, value) of each line of a JSON-lines file, gzip-compressed when its name ends in .gz; blank ones skipped.

    A byte order mark at the start is skipped too.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a damaged .gz file, or a line that is not JSON, or no UTF-8, with its number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        for number, line in enumerate(_whole_lines(path, file), start=1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                try:
                    value = json.loads(text.decode("utf-8"))
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{path}, line {number}: no JSON in UTF-8: {error}") from None
                yield number, value


def _whole_lines(path: Path, file: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged, or no gzip file ({error}); download it again, or name it without .gz if it is plain text"
        ) from None


def load(path: str | Path) -> list[AnyProblem]:
    """The problems of a file, in its order.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a malformed line or a name that comes twice, with its number; or no problem at all.
    """
    path = Path(path)
    return of_records(path, "line", read_lines(path))


def load_stdin(path: str | Path) -> list[StdinProblem]:
    """The problems of whole programs of a file, in no language. Raises as `load`."""
    path = Path(path)
    return _numbered(path, "line", read_lines(path), stdin_problem)


def of_records(path: Path, unit: str, records: Iterable[tuple[int, Any]], suffix: str = "") -> list[AnyProblem]:
    """The problems of numbered records, each `unit` NUMBER of `path`. Raises ValueError as `load`.

    `suffix`: the language of those that name none. LiveCodeBench's own files mix problems of both kinds: those whose
    tests call a Python function are left out, and a warning says how many.
    """
    return _numbered(path, unit, records, lambda record: from_record(record, suffix))


def _numbered(path: Path, unit: str, records: Iterable[tuple[int, Any]], read: Callable[[Any], _Kind]) -> list[_Kind]:
    problems: dict[str, _Kind] = {}
    left_out = []
    for number, record in records:
        try:
            problem = read(record)
        except CallsFunctionError as error:
            if _LCB_TESTS[0] not in record:
                raise ValueError(f"{path}, {unit} {number}: {error}") from None
            left_out.append(record["question_id"])
            continue
        except ValueError as error:
            raise ValueError(f"{path}, {unit} {number}: {error}") from None
        if problem.name in problems:
            raise ValueError(f"{path}, {unit} {number}: the name {problem.name!r} comes a second time")
        problems[problem.name] = problem
    if left_out:
        text = "%s: %d of %d problems are left out, whose tests call a Python function (%s is the first)"
        logging.warning(text, path, len(left_out), len(left_out) + len(problems), left_out[0])
    if not problems:
        raise ValueError(f"{path}: no problem in it" + (" that reads standard input" if left_out else ""))
    return list(problems.values())


def load_language(path: str | Path, suffix: str) -> list[AnyProblem]:
    """The problems of a file, all in one language. Raises as `load`, and ValueError for a problem in another."""
    path = Path(path)
    problems = of_records(path, "line", read_lines(path), suffix)
    check_language(path, problems, suffix)
    return problems


def check_language(path: str | Path, problems: Iterable[AnyProblem], suffix: str) -> None:
    """Raises ValueError for a problem in another language."""
    for problem in problems:
        if problem.language != suffix:
            raise ValueError(f"{path}: {problem.name} is a problem in {problem.language!r}, not in {suffix!r}")


def from_record(record: Any, suffix: str = "") -> AnyProblem:
    """The problem of one record; the record's fields say which benchmark it is of.

    `suffix`: the language of a problem that names none. Raises ValueError naming the field that is missing or of the
    wrong type.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a problem is a JSON object, not {type(record).__name__}")
    if "task_id" in record and "test" in record and "base_input" not in record:
        return _mceval(record, suffix)
    if "private_test_cases" in record:
        return stdin_problem(record, suffix)
    if "task_id" in record and not any(field in record for field in _TESTS):
        return _evalplus(record)
    tests = record.get("tests")
    are_code = isinstance(tests, str) and not tests.lstrip().startswith(("[", "{"))
    # MultiPL-E's problems alone name a language, and have code as tests.
    if isinstance(tests, list | dict) or not (isinstance(record.get("language"), str) or are_code):
        return stdin_problem(record, suffix)
    for field in _TEXT_FIELDS:
        if not isinstance(record.get(field), str):
            raise ValueError(f"field {field!r} is {record.get(field)!r:.60}: MultiPL-E's problems have text there")
    if not record["tests"].strip():
        raise ValueError("field 'tests' is empty: every completion would pass; leave the problem out")
    stop_tokens = record.get("stop_tokens", [])
    if not isinstance(stop_tokens, list) or not all(isinstance(token, str) for token in stop_tokens):
        raise ValueError(f"field 'stop_tokens' is {stop_tokens!r:.60}: MultiPL-E's problems have a list of texts there")
    if not all(stop_tokens):
        raise ValueError("field 'stop_tokens' holds an empty text, which would end every completion: leave it out")
    return Problem(
        record["name"], record["language"], record["prompt"], record["tests"], tuple(stop_tokens), dict(record)
    )


def _mceval(record: dict[str, Any], suffix: str) -> Problem:
    for field in ("task_id", "prompt", "test"):
        if not isinstance(text := record.get(field), str) or not text.strip():
            raise ValueError(f"field {field!r} is {text!r:.60}: McEval's problems have text there")
    return Problem(record["task_id"], suffix, record["prompt"] + "\n", record["test"], (), dict(record), own_tests=True)


_NAMES = ("question_id", "task_id", "name", "id", "original_task_id", "idx")
_STATEMENTS = ("question_content", "prompt", "statement", "problem", "description", "problem_statement")
_TESTS = ("tests", "examples")
# Parts of a statement that Ag-MBPP-X and Ag-Codeforces-X have in fields of their own, with our headings.
_PARTS = {"input_format": "Input", "output_format": "Output"}


def stdin_problem(record: Any, suffix: str = "") -> StdinProblem:
    """A statement with tests [{"input", "output"}, ...] or {"inputs": [...], "outputs": [...]}, or JSON of them.

    Its fields may have the names of Ag-MBPP-X and Ag-Codeforces-X, whose formats of input and output are put after the
    statement. Or a problem of LiveCodeBench, its tests packed. Raises ValueError for anything else.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a problem is a JSON object, not {type(record).__name__}")
    if "private_test_cases" in record:
        return _lcb_problem(record, suffix)
    name = next((record[field] for field in _NAMES if isinstance(record.get(field), str | int)), None)
    statement = next((text for field in _STATEMENTS if isinstance(text := record.get(field), str)), "")
    if name is None or not statement.strip():
        missing = f"no text in {' or '.join(_STATEMENTS if name is not None else _NAMES)}"
        raise ValueError(f"a problem with tests of standard input has {missing}")
    for field, heading in _PARTS.items():
        if (part := record.get(field) or "") and isinstance(part, str):
            statement += f"\n\n{heading}\n\n{part}"
    tests = next((record[field] for field in _TESTS if record.get(field) is not None), None)
    try:
        tests = json.loads(tests) if isinstance(tests, str) else tests
        if isinstance(tests, dict):
            pairs = list(zip(tests["inputs"], tests["outputs"], strict=True))
        else:
            pairs = [(test["input"], test["output"]) for test in tests or ()]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"field 'tests' holds no inputs and outputs: {error!r}") from None
    if not pairs or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise ValueError(f"field 'tests' is {tests!r:.60}: at least one test, each of two texts")
    kept = {field: value for field, value in record.items() if field not in _TESTS}
    return StdinProblem(str(name), suffix, statement, tuple(pairs), kept, OWN)


_LCB_TESTS = ("public_test_cases", "private_test_cases")


def _lcb_problem(record: dict[str, Any], suffix: str) -> StdinProblem:
    """A problem of LiveCodeBench; of its fields Ag-LiveCodeBench-X keeps three, including the private tests."""
    for field in ("question_id", "question_content"):
        if not isinstance(record.get(field), str) or not record[field]:
            raise ValueError(f"field {field!r} is {record.get(field)!r:.60}: LiveCodeBench's problems have text there")
    texts = tuple(record[field] for field in _LCB_TESTS if field in record)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"fields {' and '.join(_LCB_TESTS)}: LiveCodeBench's problems have text there")
    tests = Packed(texts)
    if not tests.pairs:
        raise ValueError(f"field {_LCB_TESTS[1]!r} holds no test")
    kept = {field: value for field, value in record.items() if field not in _LCB_TESTS}
    form = MULTI_LCB if _LCB_TESTS[0] in record else AGNOSTICS
    return StdinProblem(record["question_id"], suffix, record["question_content"], tests, kept, form)


def _evalplus(record: dict[str, Any]) -> EvalPlusProblem:
    missing = [field for field in _EVALPLUS_FIELDS if field not in record]
    if missing:
        raise ValueError(f"an EvalPlus problem lacks {missing}")
    for field in ("task_id", "prompt", "entry_point", "canonical_solution"):
        if not isinstance(record[field], str):
            raise ValueError(f"field {field!r} is {record[field]!r:.60}, not text")
    for field in ("base_input", "plus_input"):
        # MBPP+ has {} if a problem has no further inputs.
        if record[field] != {} and not (
            isinstance(record[field], list) and all(isinstance(inputs, list) for inputs in record[field])
        ):
            raise ValueError(f"field {field!r} is {record[field]!r:.60}: EvalPlus has a list of argument lists there")
    if not record["base_input"] and not record["plus_input"]:
        raise ValueError("fields 'base_input' and 'plus_input' are empty: every completion would pass; leave it out")
    atol = record["atol"]
    if isinstance(atol, bool) or not isinstance(atol, int | float) or not 0 <= atol < 1e300:
        raise ValueError(f"field 'atol' is {atol!r:.60}: EvalPlus has a tolerance of at least 0 there")
    prefix, _, number = record["task_id"].partition("/")
    if prefix == "Mbpp" and not (number.isascii() and number.isdecimal()):
        raise ValueError(f"field 'task_id' is {record['task_id']!r:.60}: MBPP+ has Mbpp/NUMBER there")
    problem = EvalPlusProblem(
        record["task_id"],
        record["prompt"],
        record["entry_point"],
        record["canonical_solution"],
        tuple(record["base_input"]),
        tuple(record["plus_input"]),
        float(atol),
        {key: record[key] for key in ("task_id", "prompt", "entry_point", "atol")},
    )
    try:
        arguments_of(problem.name, [*problem.base_input, *problem.plus_input])
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ValueError(f"fields 'base_input' and 'plus_input' are not what {problem.name} takes: {error!r}") from None
    return problem
