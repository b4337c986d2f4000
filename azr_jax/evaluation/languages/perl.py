"""Perl, judged by its own tests."""

from __future__ import annotations

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Outcome
from azr_jax.evaluation.languages.whole_programs import whole_program_language


def _word(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    wrong = outcome.exit_code != 0 or "ERROR" in outcome.stdout or "ERROR" in outcome.stderr
    return "Exception" if wrong else "OK"


LANGUAGE = BenchmarkLanguage(
    name="perl",
    word=_word,
    executed=whole_program_language("perl", "Perl", ".pl", "print 1;", "perl"),
    print_mark='print "{{mark}}\\n";',
)
