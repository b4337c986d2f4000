"""Languages whose interpreters are installed by name: judged by their results, whatever a completion does."""

import pytest
from recorded import needs

from azr_jax.evaluation.judging.judge import Completion, CompletionJudge
from azr_jax.evaluation.problems.records import Problem

pytestmark = pytest.mark.ci

RUBY = Problem(
    "twice",
    "rb",
    "# Twice each number.\ndef doubled(xs)\n",
    """require 'test/unit'
class TestHumanEval < Test::Unit::TestCase
  def test_doubled
    candidate = method(:doubled)
    assert_equal([2, 4.0], candidate.call([1, 2]))
    assert_equal([], candidate.call([]))
    assert_equal({"k" => [-6, "a)"]}, candidate.call({"k" => [-3, "a)"]}))
    assert_equal(nil, candidate.call(nil))
  end
end
""",
    (),
    {},
)
_RUBY_RIGHT = """  return xs if xs.nil?
  return xs.transform_values { |v| doubled(v) } if xs.is_a?(Hash)
  xs.map { |x| x.is_a?(String) ? x : 2 * x }
end
"""
# By language: its problem, right completions, and those that are not, with how they end.
CASES = {
    "rb": (
        RUBY,
        [
            _RUBY_RIGHT,
            _RUBY_RIGHT + "def f(x) = 7\nputs f(1)\n",
            _RUBY_RIGHT.replace("doubled(v)", "f(v)") + "def f(v) = doubled(v)\nraise 'f' unless f(nil).nil?\n",
            _RUBY_RIGHT + "class Array\n  def second = self[1]\nend\nat_exit { exit!(1) }\n",
        ],
        {
            _RUBY_RIGHT.replace("2 *", "3 *"): "Exception",
            "  nil\nend\n": "Exception",
            "  exit(0)\nend\n": "Exception",
            "  xs\nend\nexit!(0)\n": "Exception",
            "  xs\nend\nat_exit { exit!(0) }\n": "Exception",
            "  xs\nend\nmodule Test\n  module Unit\n    class TestCase\n      def assert_equal(*) = nil\n"
            "    end\n  end\nend\n"
            "$LOADED_FEATURES << 'test/unit.rb'\n": "Exception",
            "  Class.new { def ==(_) = true }.new\nend\n": "Exception",
            "  xs\nend\nclass Array\n  def ==(_) = true\nend\nclass Hash\n  def ==(_) = true\nend\n": "Exception",
            "  xs\nend\ndef method(*) = ->(*) { true }\n": "Exception",
            _RUBY_RIGHT + "__END__\n": "Exception",
            _RUBY_RIGHT + "=begin\n": "SyntaxError",
            "  xs ][\nend\n": "SyntaxError",
        },
    ),
}


@pytest.mark.parametrize("suffix", [pytest.param(suffix, marks=needs(suffix)) for suffix in CASES])
def test_completions_are_judged_by_their_results(suffix):
    problem, right, wrong = CASES[suffix]
    with CompletionJudge(suffix, timeout_s=20) as judge:
        judgements = list(judge.judge_all([(problem, Completion("p", text)) for text in (*right, *wrong)]))
    told = [(judgement.program[:300], judgement.status, judgement.stderr) for judgement in judgements]
    assert [status for _, status, _ in told] == [*["OK"] * len(right), *wrong.values()], told
    assert not any(judgement.infrastructure or judgement.own_way for judgement in judgements)
