"""OCaml is judged by its results; tests of a form that is not known judge by themselves, and the judgement says so."""

import json

from recorded import needs

from azr_jax.evaluation.__main__ import main
from azr_jax.evaluation.judging.judge import Completion, CompletionJudge
from azr_jax.evaluation.problems.records import Problem

OCAML_TESTS = """
let assertions =
 let candidate = doubled in
  (assert ((candidate [1; 2]) = [2; 4]));
  (assert ((candidate [-3]) = [(-6)]));
  (assert ((candidate []) = []));
  ()
"""
OCAML = Problem("p", "ml", "let doubled (xs : int list) : int list =\n", OCAML_TESTS, (), {})
OCAML_RIGHT = "  List.map (fun x -> 2 * x) xs\n"
PERL_TESTS = """
sub testhumaneval {
    my $candidate = \\&twice;
    if ($candidate->(2) == 4) { print "ok!" } else { exit 1; }
}
testhumaneval();
"""
PERL = {"name": "twice", "language": "pl", "prompt": "sub twice {\n    my($n) = @_;\n", "tests": PERL_TESTS}


@needs("ml")
def test_ocaml_is_judged_by_its_results():
    cheats = {
        OCAML_RIGHT.replace("2", "3"): "Exception",
        "  xs\nlet () = exit 0\n": "Exception",
        "  xs\nlet (=) a b = true\n": "Exception",
        "  [Obj.magic 1.5]\n": "Exception",
        "  [1.5]\n": "Exception",  # a type error is no error of syntax to MultiPL-E
        "  ][\n": "SyntaxError",
    }
    own_f = "  let rec f = function [] -> [] | x :: r -> (2 * x) :: f r in f xs\nlet f = 7\nlet () = print_int f\n"
    with CompletionJudge("ml", timeout_s=20) as judge:
        judgements = list(judge.judge_all([(OCAML, Completion("p", text)) for text in (OCAML_RIGHT, own_f, *cheats)]))
    assert [judgement.status for judgement in judgements] == ["OK", "OK", *cheats.values()]
    assert not any(judgement.infrastructure or judgement.own_way for judgement in judgements)


@needs("pl")
def test_tests_of_another_form_judge_by_themselves_and_that_is_said(tmp_path, capsys):
    problems, completions, out = tmp_path / "problems.jsonl", tmp_path / "completions.jsonl", tmp_path / "out.jsonl"
    problems.write_text(json.dumps(PERL))
    texts = ["  return 2 * $n;\n}", "  return $n;\n}", "  return ][;\n}", "  exit 0;\n}"]
    completions.write_text("".join(json.dumps({"name": "twice", "completion": text}) + "\n" for text in texts))
    given = [f"--problems={problems}", f"--completions={completions}", f"--out={out}"]
    assert main(["check", "--language=perl", *given]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["status"], line["exit_code"]) for line in lines] == [
        ("OK", 0),
        ("Exception", 1),
        ("Exception", 255),
        ("OK", 0),
    ]
    assert all(line["judged"] == "multipl-e" for line in lines)
    assert "4 of 4 were judged by their own tests, which a completion can fool" in capsys.readouterr().out
