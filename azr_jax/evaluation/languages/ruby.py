"""Ruby: test-unit's assert_equal."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates, replay_by_template

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
_REPLAY = """{{program}}
azr_count, azr_calls, azr_at, azr_inside = {{count}}, [], 0, false
azr_real = method(:{{name}})
define_singleton_method(:{{name}}) do |*given|
  if azr_count > 0 then azr_calls[(azr_at += 1) - 1]
  elsif azr_inside then azr_real.call(*given)
  else
    azr_calls << Marshal.load(Marshal.dump(given))
    azr_inside = true
    begin azr_real.call(*given) ensure azr_inside = false end
  end
end
azr_tests = lambda do
{{tests}}
end
azr_tests.call if azr_count == 0
define_singleton_method(:f) do |value|
  next value < 0 ? azr_calls.size : azr_calls[value] if azr_count == 0
  azr_calls << value
  next true if azr_calls.size < azr_count
  azr_tests.call
  azr_at == azr_count
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
    replay=replay_by_template(_REPLAY, "candidate.call(*{{arguments}})"),
    wrong_body="  nil\nend\n",
    print_mark='puts "{{mark}}"',
)
