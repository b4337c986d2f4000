"""Ruby: test-unit's assert_equal."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates

# A method f of the main object that makes the call of a given number, and otherwise is the program's own f, if any.
_COLLECT = """{{program}}
azr_own = begin method(:f); rescue NameError; nil; end
candidate = method(:{{function}})
azr_test = lambda do |azr_call|
case azr_call
{{cases}}
end
end
define_singleton_method(:f) do |*given, **named, &block|
  if given.empty? && named.keys == [:azr_call] then azr_test.call(named[:azr_call])
  elsif azr_own.nil? then method_missing(:f, *given, **named, &block)
  else azr_own.call(*given, **named, &block)
  end
end
"""
_COMPARE = """AZR_EXPECTED = [
{{expected}}]
def f(value)
  (AZR_EXPECTED.shift.call == value) ? true : false
rescue StandardError
  false
end
"""
LANGUAGE = BenchmarkLanguage(
    name="ruby",
    form=Form(
        re.compile(
            r"\s*require 'test/unit'\s+class TestHumanEval < Test::Unit::TestCase\s+def test_\w+[!?]?\s*\n"
            r"\s*candidate = method\(:([^\n)]+)\)\n(.*)\n\s*end\s+end\s*\Z",
            re.DOTALL,
        ),
        "assert_equal(",
        re.compile(r",\s*"),
        re.compile(r"\)"),
        "candidate.call(",
        quotes="\"'",
        expected_first=True,
    ),
    instrument=by_templates(
        collect=_COLLECT,
        case="when {{number}} then {{call}}",
        compare=_COMPARE,
        expected="-> { {{expected}} }",
        call_input="azr_call: {{number}}",
    ),
    wrong_body="  nil\nend\n",
    print_mark='puts "{{mark}}"',
)
