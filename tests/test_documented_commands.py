"""Every command that README and docs name is run by a test of the default run."""

import ast
import functools
import re

import pytest
from conftest import REPOSITORY
from test_docs import HISTORY, PAGES, commands, named, subcommand_of

# Module and subcommand: the file and the function that runs it.
TESTS = {
    ("azr_jax", ""): ("tests/test_package.py", "test_the_first_command_lists_the_others"),
    ("azr_jax.main", ""): ("tests/test_main.py", "test_the_same_command_on_a_finished_run_does_nothing"),
    ("azr_jax.status", ""): ("tests/monitor/test_status.py", "test_the_command_prints_it_without_jax"),
    ("azr_jax.report", ""): ("tests/report/test_page.py", "test_several_runs_are_compared"),
    ("azr_jax.checkpoint", "export"): (
        "tests/workdir/test_checkpoint.py",
        "test_an_export_replaces_that_of_its_own_step_alone_and_says_one_line",
    ),
    ("azr_jax.evaluation", "run"): (
        "tests/evaluation/test_commands.py",
        "test_run_scores_the_embedded_model_and_goes_on_where_it_stopped",
    ),
    ("azr_jax.evaluation", "check"): (
        "tests/evaluation/test_mceval.py",
        "test_problems_of_standard_input_are_judged_by_what_is_printed",
    ),
    ("azr_jax.evaluation", "compare"): (
        "tests/evaluation/test_commands.py",
        "test_compare_counts_what_only_one_solves",
    ),
    ("azr_jax.evaluation", "table"): (
        "tests/evaluation/test_commands.py",
        "test_run_scores_the_embedded_model_and_goes_on_where_it_stopped",
    ),
    ("azr_jax.evaluation", "export"): (
        "tests/evaluation/test_other_tools.py",
        "test_results_are_exported_and_read_back",
    ),
    ("azr_jax.evaluation", "speed"): (
        "tests/evaluation/test_commands.py",
        "test_the_speed_of_judging_times_both_ways",
    ),
    ("azr_jax.plan", ""): ("tests/plan/test_simulation.py", "test_the_command_plans_without_compiling"),
    ("azr_jax.plan.drafts", ""): ("tests/plan/test_drafts.py", "test_the_command_reads_a_run"),
    ("azr_jax.speed", "sampler"): (
        "tests/speed/test_speed_commands.py",
        "test_the_sampler_is_measured_at_the_tiny_size",
    ),
    ("azr_jax.speed", "update"): (
        "tests/speed/test_speed_commands.py",
        "test_the_update_is_measured_at_the_tiny_size",
    ),
    ("azr_jax.speed", "step"): ("tests/speed/test_speed_commands.py", "test_a_step_is_measured_at_the_tiny_size"),
    ("azr_jax.benchmark", ""): ("tests/speed/test_speed_commands.py", "test_the_old_name_says_the_new_one"),
    ("azr_jax.study", ""): ("tests/study/test_study.py", "test_a_study_of_one_run_without_steps_is_run_and_reported"),
    ("azr_jax.study.estimation", ""): (
        "tests/study/test_estimation.py",
        "test_the_command_writes_samples_and_table",
    ),
    ("azr_jax.pretrain", ""): (
        "tests/pretrain/test_making.py",
        "test_the_command_makes_a_model_its_problems_and_a_record",
    ),
    ("executors", "run"): ("tests/executors/test_cli.py", "test_run"),
    ("executors", "batch"): ("tests/executors/test_cli.py", "test_batch"),
    ("executors", "doctor"): ("tests/executors/test_cli.py", "test_doctor"),
    ("executors", "build"): ("tests/executors/test_cli.py", "test_build"),
    ("executors", "speed"): ("tests/executors/test_cli.py", "test_speed_rows"),
}
NOT_IN_THE_DEFAULT_RUN = re.compile(r"\b(slow|ci|gpu|tpu_plan)\b")


def documented() -> set[tuple[str, str]]:
    """(module, subcommand) of each command on a page; without a subcommand where one is listed with it."""
    pairs = set()
    for page in PAGES:
        for words in commands(page) if page not in HISTORY else ():
            if (command := named(words)) is not None:
                pairs.add((command[0], subcommand_of(*command)))
    with_subcommands = {module for module, subcommand in pairs if subcommand}
    return {(module, word) for module, word in pairs if word or module not in with_subcommands}


@functools.cache
def parsed(file: str) -> tuple[str, ast.Module]:
    text = (REPOSITORY / file).read_text()
    return text, ast.parse(text)


def test_every_documented_command_has_a_test():
    assert documented() <= set(TESTS)


@pytest.mark.parametrize("command", TESTS, ids=" ".join)
def test_its_test_is_in_the_default_run_and_names_it(command):
    file, name = TESTS[command]
    text, tree = parsed(file)
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    marks = [ast.get_source_segment(text, node) for node in function.decorator_list]
    marks += re.findall(r"^pytestmark = .*(?:\n .*)*", text, re.M)
    assert not [mark for mark in marks if mark and NOT_IN_THE_DEFAULT_RUN.search(mark)]
    source = ast.get_source_segment(text, function)
    module, subcommand = command
    assert source
    assert (subcommand or module) in source or re.search(r"\b(main|run|pretrain|azr_jax)\(", source)
