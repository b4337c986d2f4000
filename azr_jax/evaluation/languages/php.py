"""PHP, judged by its own tests."""

from __future__ import annotations

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Outcome
from azr_jax.evaluation.languages.whole_programs import whole_program_language


def _word(outcome: Outcome) -> str:
    if "PHP Parse error" in outcome.stdout:
        return "SyntaxError"
    return "OK" if outcome.exit_code == 0 else "Exception"


LANGUAGE = BenchmarkLanguage(
    name="php",
    word=_word,
    executed=whole_program_language("php", "PHP", ".php", "<?php\necho 1;", "php-cli", comment="//"),
    print_mark='<?php echo "{{mark}}";',
)
