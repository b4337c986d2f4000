"""An added language, from its `Language` record alone: one folder adds a language to evaluation too.

`Language.benchmark_suffix` names its benchmark files (`humaneval-SUFFIX.jsonl`); without one it is the extension.
`Language.benchmark_tests` describes MultiPL-E's tests in texts, with which they are judged soundly; without it the
tests themselves judge. Its keys:
  whole, opening, call, between, closing, quotes, ends_at_space   as Form's fields; whole, between and closing are
    regular expressions (`whole` in DOTALL mode), call, quotes and ends_at_space ("yes") may be left out
  collect, case, compare, expected, expected_between, call_input, right   the templates of record.by_templates; the last
    three may be left out
  timeout_s   of one program, in seconds; may be left out
  wrong_body  a completion that loads and answers wrongly, for the speed command; may be left out
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates
from executors import Language

_FORM = ("whole", "opening", "between", "closing")
_TEMPLATES = {
    "collect": ("program", "function", "cases"),
    "case": ("number", "call"),
    "compare": ("expected",),
    "expected": ("expected",),
}
_MAY_BE_LEFT_OUT = (
    "call",
    "quotes",
    "ends_at_space",
    "expected_between",
    "call_input",
    "right",
    "timeout_s",
    "wrong_body",
)


def from_language(language: Language) -> BenchmarkLanguage:
    """The benchmarks' record of an added language. Raises ValueError for a key of `benchmark_tests` that is wrong."""
    data = language.benchmark_tests
    if not data:
        return BenchmarkLanguage(name=language.name, executed=language)
    place = f"benchmark_tests of the language {language.name!r}"
    _check(place, data)
    return BenchmarkLanguage(
        name=language.name,
        timeout_s=_seconds(place, data.get("timeout_s", "15")),
        form=Form(
            whole=_pattern(place, data, "whole", re.DOTALL),
            opening=data["opening"],
            between=_pattern(place, data, "between"),
            closing=_pattern(place, data, "closing"),
            call=data.get("call", "candidate("),
            quotes=data.get("quotes", '"'),
            ends_at_space=data.get("ends_at_space") == "yes",
        ),
        instrument=by_templates(
            collect=data["collect"],
            case=data["case"],
            compare=data["compare"],
            expected=data["expected"],
            expected_between=data.get("expected_between", ",\n"),
            call_input=data.get("call_input", "{{number}}"),
            right=data.get("right", "true"),
        ),
        wrong_body=data.get("wrong_body", ""),
        executed=language,
    )


def _check(place: str, data: Mapping[str, str]) -> None:
    missing = [key for key in (*_FORM, *_TEMPLATES) if not data.get(key)]
    unknown = set(data) - {*_FORM, *_TEMPLATES, *_MAY_BE_LEFT_OUT}
    if missing:
        raise ValueError(f"{place}: lacks {missing}; azr_jax/evaluation/languages/added.py describes them")
    if unknown:
        raise ValueError(f"{place}: unknown {sorted(unknown)}; azr_jax/evaluation/languages/added.py names the keys")
    for key, names in _TEMPLATES.items():
        lost = [name for name in names if f"{{{{{name}}}}}" not in data[key]]
        if lost:
            raise ValueError(
                f"{place}: {key} has no place for {', '.join(lost)}: write {{{{{lost[0]}}}}} where it goes"
            )


def _pattern(place: str, data: Mapping[str, str], key: str, flags: int = 0) -> re.Pattern[str]:
    try:
        pattern = re.compile(data[key], flags)
    except re.error as error:
        raise ValueError(f"{place}: {key} is no regular expression: {error}") from None
    if key == "whole" and pattern.groups != 2:
        raise ValueError(
            f"{place}: whole has {pattern.groups} groups: it needs two, the tested name and the assertions"
        )
    return pattern


def _seconds(place: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise ValueError(f"{place}: timeout_s is {text!r}: use a number of seconds above 0")
    return seconds
