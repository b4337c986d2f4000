"""The languages that benchmarks are known in, and the executors' record of each."""

from __future__ import annotations

from azr_jax.evaluation.languages import javascript, julia, lua, ocaml, perl, php, python, r, racket, ruby
from azr_jax.evaluation.languages.record import BenchmarkLanguage
from executors import LANGUAGES, Language

BENCHMARK_LANGUAGES = {
    module.LANGUAGE.suffix: module.LANGUAGE
    for module in (racket, julia, javascript, lua, r, ocaml, php, perl, ruby, python)
}


def known_language(name: str) -> BenchmarkLanguage:
    """The record of a language's name or MultiPL-E suffix. Raises ValueError when there is none."""
    by_name = {language.name: language for language in BENCHMARK_LANGUAGES.values()}
    language = BENCHMARK_LANGUAGES.get(name) or by_name.get(name)
    if language is None:
        raise ValueError(
            f"--language={name!r}: use one of {', '.join(sorted(by_name))} (or"
            f" {', '.join(sorted(BENCHMARK_LANGUAGES))})"
        )
    return language


def executed_language(language: BenchmarkLanguage) -> Language:
    """The executors' record of it. Raises ValueError when its interpreter is not installed."""
    executed = language.executed or LANGUAGES[language.name]
    if executed.find() is None:
        raise ValueError(
            f"--language={language.suffix!r}: no {language.name} interpreter found; {executed.install_hint}"
        )
    return executed
