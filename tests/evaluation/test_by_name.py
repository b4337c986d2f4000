"""Languages whose interpreters are installed by name: judged by their results, whatever a completion does."""

import dataclasses

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
PERL = Problem(
    "twice",
    "pl",
    "# Twice each number.\nsub doubled {\n    my($xs) = @_;\n",
    """use Test::Deep;


sub testhumaneval {
    my $candidate = \\&doubled;
        if(eq_deeply($candidate->([1, 2]),[2, 4.0])) {
        print "ok!" }else{
        exit 1;
        }
        if(eq_deeply($candidate->([]),[])) {
        print "ok!" }else{
        exit 1;
        }
        if(eq_deeply($candidate->({"k" => [-3, "a)"]}),{"k" => [-6, "a)"]})) {
        print "ok!" }else{
        exit 1;
        }
        if(eq_deeply($candidate->(undef),undef)) {
        print "ok!" }else{
        exit 1;
        }
}

testhumaneval();
""",
    (),
    {},
)
_PERL_RIGHT = """    return unless defined $xs;
    return { map { $_ => doubled($xs->{$_}) } keys %$xs } if ref $xs eq 'HASH';
    return [map { /^-?\\d/ ? 2 * $_ : $_ } @$xs];
}
"""
PHP = Problem(
    "twice",
    "php",
    "<?php\n// Twice each number.\nfunction doubled($xs) {\n",
    """function candidate(...$args) {
    return doubled(...$args);
}

function test(): void {
    if (candidate(array(1, 2)) !== array(2, 4)) { throw new Exception("Test failed!"); }
    if (candidate(array()) !== array()) { throw new Exception("Test failed!"); }
    if (candidate(array("k)" => -3, 0 => "")) !== array("k)" => -6, 0 => "")) { throw new Exception("Test failed!"); }
    if (candidate(null) !== null) { throw new Exception("Test failed!"); }
}

test();""",
    (),
    {},
)
_PHP_RIGHT = """    if ($xs === null) return null;
    return array_map(fn($x) => is_string($x) ? $x : 2 * $x, $xs);
}
"""
SCHEME = Problem(
    "twice",
    "scm",
    '(define (doubled xs)\n  "Twice each number."\n  ',
    """(import (srfi srfi-64))
(define candidate doubled)
(test-begin "HumanEval")
(test-equal (candidate (list 1 2)) (list 2 4))
(test-equal (candidate (list )) (list ))
(test-equal (candidate (list -3 "a)")) (list -6 "a)"))
(test-equal (candidate #f) #f)
(test-end)
""",
    (),
    {},
)
_SCHEME_RIGHT = """(if xs (map (lambda (x) (if (string? x) x (* 2 x))) xs) #f))
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
    "php": (
        PHP,
        [
            _PHP_RIGHT,
            _PHP_RIGHT + "function f($x) { return f2($x); }\nfunction f2($x) { return 7; }\necho f(1);\n?>\n",
            _PHP_RIGHT.replace("fn($x) => is_string($x) ? $x : 2 * $x", "'f'")
            + "function f($x) { return is_string($x) ? $x : $x + $x; }\n",
            _PHP_RIGHT + "register_shutdown_function(fn() => exit(1));\n",
        ],
        {
            _PHP_RIGHT.replace("2 *", "3 *"): "Exception",
            _PHP_RIGHT.replace("2 *", "2.0 *"): "Exception",
            "    return null;\n}\n": "Exception",
            "    exit(0);\n}\n": "Exception",
            "    return $xs;\n}\nexit(0);\n": "Exception",
            "    return $xs;\n}\nregister_shutdown_function(fn() => exit(0));\n": "Exception",
            "    return $xs;\n}\nset_exception_handler(fn() => exit(0));\n": "Exception",
            "    return $xs;\n}\n?>\n": "Exception",
            "    return $xs;\n}\n__halt_compiler();\n": "Exception",
            "    return $xs;\n}\n/*\n": "SyntaxError",
            "    return ][;\n}\n": "SyntaxError",
        },
    ),
    "scm": (
        SCHEME,
        [
            _SCHEME_RIGHT,
            _SCHEME_RIGHT + "(define (f x) 7)\n(display (f 1))\n",
            _SCHEME_RIGHT.replace("(* 2 x)", "(f x)") + "(define (f x) (+ x x))\n",
        ],
        {
            _SCHEME_RIGHT.replace("* 2", "* 3"): "Exception",
            "#f)\n": "Exception",
            "(exit 0))\n": "Exception",
            "xs)\n(exit 0)\n": "Exception",
            "xs)\n(set! equal? (lambda _ #t))\n": "Exception",
            "xs)\n(define-syntax test-equal (syntax-rules () ((_ . a) #t)))\n": "Exception",
            "xs)\n(set! exit (lambda _ (primitive-_exit 0)))\n(set! error exit)\n": "Exception",
            "(call/cc (lambda (k) (abort-to-prompt 'none 1))))\n": "Exception",
            _SCHEME_RIGHT + "#|\n": "SyntaxError",
            "xs))))\n": "SyntaxError",
        },
    ),
    "pl": (
        PERL,
        [
            _PERL_RIGHT,
            "use strict;\nuse warnings;\n" + _PERL_RIGHT + "sub f { return 7 }\nprint f(1);\n1;\n",
            _PERL_RIGHT.replace("doubled($xs->", "f($xs->") + "sub f { return doubled(@_) }\n",
            _PERL_RIGHT + "END { $? = 1 }\n",
        ],
        {
            _PERL_RIGHT.replace("2 *", "3 *"): "Exception",
            "    return undef;\n}\n": "Exception",
            "    exit 0;\n}\n": "Exception",
            "    return $xs;\n}\nexit 0;\n": "Exception",
            "    return $xs;\n}\nBEGIN { exit 0 }\n": "Exception",
            "    return $xs;\n}\nEND { $? = 0 }\n": "Exception",
            "    return $xs;\n}\nBEGIN { $INC{'Test/Deep.pm'} = 1; *eq_deeply = sub { 1 } }\n": "Exception",
            "    return @$xs;\n}\n": "Exception",
            "    return bless [], 'Any';\n}\npackage Any; use overload 'eq' => sub { 1 }, '==' => sub { 1 };\n"
            "": "Exception",
            "    return ([1], [1]);\n}\n": "Exception",
            _PERL_RIGHT + "__END__\n": "Exception",
            _PERL_RIGHT + "\n=pod\n\n": "Exception",
            "    return ][;\n}\n": "SyntaxError",
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


@pytest.mark.parametrize("suffix", [pytest.param(suffix, marks=needs(suffix)) for suffix in CASES])
def test_a_tested_function_that_is_called_f_itself(suffix):
    problem, (right, *_), (wrong, *_) = CASES[suffix]
    problem = dataclasses.replace(
        problem, prompt=problem.prompt.replace("doubled", "f"), tests=problem.tests.replace("doubled", "f")
    )
    with CompletionJudge(suffix, timeout_s=20) as judge:
        texts = (right.replace("doubled", "f"), wrong.replace("doubled", "f"))
        judgements = [judge.judge(problem, Completion("p", text)) for text in texts]
    assert [judgement.status for judgement in judgements] == ["OK", "Exception"], judgements
    assert not any(judgement.own_way for judgement in judgements)
