"""The languages that can be evaluated: those of the executors and those of a user's directory."""

from __future__ import annotations

import dataclasses

from azr_jax.evaluation.languages import (
    added,
    fortran,
    javascript,
    julia,
    lua,
    ocaml,
    perl,
    php,
    python,
    r,
    racket,
    ruby,
    scheme,
)
from azr_jax.evaluation.languages.record import BenchmarkLanguage
from executors import LANGUAGES, Language, load_languages

_OWN = {
    module.LANGUAGE.name: module.LANGUAGE
    for module in (racket, julia, javascript, lua, r, ocaml, php, perl, ruby, scheme, fortran, python)
}


def known_languages(directory: str = "") -> dict[str, BenchmarkLanguage]:
    """By name. `directory`: a folder of added languages, as `config.language_directory`.

    Raises:
      ValueError: no such folder, or a language in it whose `benchmark_tests` are not what languages/added.py reads.
    """
    executed = LANGUAGES | (load_languages(directory) if directory else {})
    return {name: _described(language) for name, language in executed.items()}


def _described(language: Language) -> BenchmarkLanguage:
    own = _OWN.get(language.name)
    if own is None:
        return added.from_language(language)
    if language.benchmark_tests:
        # An added language of the same name describes its tests itself.
        return dataclasses.replace(added.from_language(language), print_mark=own.print_mark)
    return dataclasses.replace(own, executed=language)


def known_language(name: str, directory: str = "") -> BenchmarkLanguage:
    """The record of a language's name or suffix. Raises ValueError as `known_languages`, and if there is none."""
    known = known_languages(directory)
    by_suffix = {language.suffix: language for language in known.values()}
    language = known.get(name) or by_suffix.get(name)
    if language is None:
        where = f" or add it: a folder in --language_directory={directory!r}" if directory else ""
        raise ValueError(
            f"--language={name!r}: use one of {', '.join(sorted(known))} (or {', '.join(sorted(by_suffix))}){where}"
        )
    return language


def check_installed(language: BenchmarkLanguage) -> None:
    """Raises ValueError if the language's interpreter is not installed, with how to get it."""
    if language.language.find() is None:
        hint = language.language.install_hint
        raise ValueError(f"--language={language.name!r}: no {language.name} interpreter found; {hint}")
