"""One folder adds a language to evaluation too: by data in it tests are judged soundly, without data by themselves."""

import json

import pytest
from recorded import needs
from test_lua_and_r import LUA_RIGHT, LUA_TESTS

from azr_jax.evaluation.__main__ import main
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files

# Lua under another name stands for any added language.
HEAD = """
import dataclasses
from executors import LANGUAGES
LANGUAGE = dataclasses.replace(LANGUAGES["lua"], name="moon", extension=".Moon", benchmark_suffix={suffix!r},
    benchmark_tests={tests!r})
"""
TESTS = {
    "whole": r"\s*lu = require\('luaunit'\)\s+function test_humaneval\(\)\s*\n\s*local candidate = ([^\n]+)\n(.*)\n"
    r"end\s+os\.exit\(lu\.LuaUnit\.run\(\)\)\s*",
    "opening": "lu.assertEquals(",
    "between": r",\s*",
    "closing": r"\)",
    "quotes": "\"'",
    "collect": "{{program}}\nlocal function f(azr_call)\nlocal candidate = {{function}}\n{{cases}}\nend\n",
    "case": "if azr_call == {{number}} then return ({{call}}) end",
    "compare": """local expected, at = {
{{expected}}}, 0
local function text(value)
  if type(value) ~= "table" then return tostring(value) end
  local items = ""
  for _, item in ipairs(value) do items = items .. "," .. (item + 0.0) end
  return items
end
function f(value)
  at = at + 1
  return text(value) == text(expected[at])
end
""",
    "expected": "{{expected}}",
}


def folder(tmp_path, suffix="mn", tests=TESTS):
    (tmp_path / "languages" / "moon").mkdir(parents=True)
    (tmp_path / "languages" / "moon" / "__init__.py").write_text(HEAD.format(suffix=suffix, tests=tests))
    return str(tmp_path / "languages")


def check(tmp_path, directory, texts, flag="--language_directory"):
    problem = {"name": "p", "language": "mn", "prompt": "local function doubled(xs)\n", "tests": LUA_TESTS}
    (tmp_path / "humaneval-mn.jsonl").write_text(json.dumps(problem) + "\n")
    completions = [json.dumps({"name": "p", "completion": text}) + "\n" for text in texts]
    (tmp_path / "completions.jsonl").write_text("".join(completions))
    source = files.locate("humaneval", known_language("moon", directory), str(tmp_path))
    command = ["check", "--language=moon", f"{flag}={directory}", f"--problems={source}"]
    status = main([*command, f"--completions={tmp_path / 'completions.jsonl'}", f"--out={tmp_path / 'out.jsonl'}"])
    return status, [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


@needs("lua")
def test_an_added_language_is_judged_soundly_by_its_data(tmp_path, capsys):
    status, lines = check(tmp_path, folder(tmp_path), [LUA_RIGHT, "  os.exit(0)\nend\n", "  return xs\nend\n"])
    assert (status, [line["status"] for line in lines]) == (0, ["OK", "Exception", "Exception"])
    assert not any("judged" in line for line in lines)
    assert capsys.readouterr().out == "sound: 1 of 3 pass\n"


@needs("lua")
def test_without_data_the_tests_themselves_judge_and_that_is_said(tmp_path, capsys):
    _, lines = check(tmp_path, folder(tmp_path, tests={}), ["  os.exit(0)\nend\n"], flag="--language-dir")
    assert lines[0]["judged"] == "multipl-e"
    assert "judged by their own tests" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ruby", "lua"])
def test_data_of_an_added_language_wins_over_what_is_built_in_for_its_name(tmp_path, name):
    directory, own = tmp_path / "languages", known_language(name)
    (directory / name).mkdir(parents=True)
    head = HEAD.replace('"moon"', repr(name)).replace(".Moon", own.language.extension)
    (directory / name / "__init__.py").write_text(head.format(suffix="", tests=TESTS))
    added = known_language(name, str(directory))
    assert added.form is not None and added.form.opening == TESTS["opening"]
    assert added.instrument not in (None, own.instrument) and added.print_mark == own.print_mark
    assert known_language(name).form == own.form


def test_the_suffix_is_the_extension_where_the_language_names_none(tmp_path):
    assert known_language("moon", folder(tmp_path, suffix="")).suffix == "moon"
    assert known_language("rkt").name == "racket"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"whole": "("}, "whole is no regular expression"),
        ({"whole": "(.*)"}, "whole has 1 groups"),
        ({"collect": "{{program}}"}, r"collect has no place for function, cases: write \{\{function\}\}"),
        ({"colour": "red"}, r"unknown \['colour'\]"),
        ({"compare": ""}, r"lacks \['compare'\]"),
        ({"timeout_s": "soon"}, "timeout_s is 'soon'"),
    ],
)
def test_data_that_is_wrong_is_one_message(tmp_path, changes, words):
    directory = folder(tmp_path, tests=TESTS | changes)
    with pytest.raises(ValueError, match=f"benchmark_tests of the language 'moon': {words}"):
        known_language("moon", directory)
