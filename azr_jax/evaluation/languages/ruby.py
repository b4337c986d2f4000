"""Ruby, judged by its own tests."""

from __future__ import annotations

from azr_jax.evaluation.languages.record import BenchmarkLanguage
from azr_jax.evaluation.languages.whole_programs import whole_program_language

LANGUAGE = BenchmarkLanguage(
    name="ruby",
    executed=whole_program_language("ruby", "Ruby", ".rb", "puts 1", "ruby"),
    print_mark='puts "{{mark}}"',
)
