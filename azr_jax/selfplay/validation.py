"""Parsed answers become executor jobs, and verdicts become outcomes. Answers are data: no text of a model is run here.

Outcomes: `valid`, `correct`, `wrong`, a parsing reason, an executor status, or one of the strings below.
- `infrastructure`: the pool's own failure. Such a response is dropped from the batch (`is_dropped`): it has no reward,
  counts neither as valid nor as wrong, and is never the model's fault.
- `duplicate`: the proposal's canonical program and input are those of an entry that was in the buffer when its prompt
  was made. It is not valid (reward -1): the task is to write a new, different one, and a copy of a reference would earn
  one. Two equal proposals of the same step are both valid, since neither could know of the other; the buffer keeps one.
- `ignores_input`: with `selfplay.constant_programs=-1`, a program that gives the same output for other inputs.
- `several_entry_functions`: with `selfplay.entry_functions=one`, a program that defines f more than once.
- `redefines_given`, `does_not_call_given`: a program that was given a function and does not use it.
- `repeated_inputs`: an induction proposal with the same input twice, by canonical text. AZR accepts these; here they
  are not valid, because a held-out pair that is also shown is no test, and the prompt asks for different inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from azr_jax.selfplay.buffers import LanguageBuffers
from azr_jax.selfplay.entry import ENTRY, definitions
from azr_jax.types import Answer, InductionProblem, Invalid, Role, Task, TaskType, Triplet, VerifiedProblem
from executors.jobs import Job, JobKind, Status, Verdict
from executors.language import Language

INFRASTRUCTURE = Status.INFRASTRUCTURE.value


def is_dropped(outcome: str) -> bool:
    """Whether a response with this outcome leaves the batch without a reward."""
    return outcome == INFRASTRUCTURE


def duplicate_of_buffer(task: Task, answer: Answer, buffers: LanguageBuffers) -> Invalid | None:
    """`duplicate` if the buffer has the proposal already; call it before the step's proposals are added."""
    if task.type is TaskType.INDUCTION:
        known = buffers.has_problem(_given_program(task), answer.inputs)
    else:
        known = buffers.has_triplet(answer.program, answer.input)
    return Invalid("duplicate", "the buffer has this program with this input") if known else None


def as_evaluated(answer: Answer, item: Triplet | InductionProblem) -> Answer:
    """The answer with its inputs as the canonical texts of their values."""
    if isinstance(item, InductionProblem):
        return dataclasses.replace(answer, inputs=item.inputs)
    return dataclasses.replace(answer, input=item.input)


def copy_of_example(
    task: Task, answer: Answer, language: Language, worked: Sequence[Triplet | InductionProblem] = ()
) -> Invalid | None:
    """`duplicate` when the program of a deduction or abduction proposal is an example of the prompts.

    This holds whatever `selfplay.duplicates` says: the prompt shows it as the form, not as a task. `worked`: the worked
    examples that the prompt shows.
    """
    if task.type is TaskType.INDUCTION:
        return None
    programs = (language.example, language.skeleton, *(item.program for item in worked))
    copied = language.canonical_program(answer.program) in {language.canonical_program(text) for text in programs}
    return Invalid("duplicate", "the program is an example of the prompts") if copied else None


def several_entry_functions(task: Task, answer: Answer, language: Language) -> Invalid | None:
    """`several_entry_functions` if a proposed program defines f more than once at its top level.

    Only the last would run, so that the first one misleads the solver. A language with methods or unknown definitions
    is not checked.
    """
    if task.type is TaskType.INDUCTION or language.methods:
        return None
    count = definitions(language, answer.program).count(ENTRY)
    return Invalid("several_entry_functions", f"f is defined {count} times") if count > 1 else None


def proposal_job(task: Task, answer: Answer, language: Language, job_id: str) -> Job | Invalid:
    """The job that validates a proposal: all its inputs through its program, in two processes of different hash seeds.

    The executor decides what compiles, is forbidden or ends within limits.

    Returns:
      The job, or Invalid: `repeated_inputs`. The parser has refused what is longer than `selfplay.max_program_chars`.

    Raises:
      ValueError: the task is no proposer's, or is of another language.
    """
    _require(task, Role.PROPOSE)
    if task.language != language.name:
        raise ValueError(f"task {task.id} is in {task.language!r}, not {language.name!r}: pass its own language")
    program, inputs = _proposed(task, answer)
    if len({language.canonical_program(text.strip()) for text in inputs}) < len(inputs):
        return Invalid("repeated_inputs")
    return Job(id=job_id, kind=JobKind.EVALUATE, source=program, inputs=inputs, determinism=True)


def triplet_from(task: Task, answer: Answer, verdict: Verdict, step: int) -> Triplet | Invalid:
    """The triplet of a valid deduction or abduction proposal; input and output are whole canonical texts, never cut.

    Returns:
      The triplet, or Invalid with the verdict's status as reason (`infrastructure` among them).

    Raises:
      ValueError: another kind of task, or an ok verdict without exactly one value.
    """
    _require(task, Role.PROPOSE, TaskType.DEDUCTION, TaskType.ABDUCTION)
    if not verdict.ok:
        return Invalid(verdict.status.value, verdict.reason)
    (output,) = _values(verdict, 1)
    return Triplet(language=task.language, program=answer.program, input=verdict.inputs[0], output=output, step=step)


def problem_from(task: Task, answer: Answer, verdict: Verdict, step: int, *, shown: int) -> InductionProblem | Invalid:
    """The problem of a valid induction proposal; every one of its inputs must have given a value.

    Args:
      task: an induction proposer's, whose source holds the program.
      answer: its message and inputs.
      verdict: of the proposal's job.
      step: the step it was proposed in.
      shown: pairs that solvers see (`selfplay.induction_shown`).

    Returns:
      The problem, or Invalid with the verdict's status as reason (`infrastructure` among them), or `repeated_inputs`
      when two expressions have the same value.

    Raises:
      ValueError: another kind of task, or an ok verdict without one value per input.
    """
    _require(task, Role.PROPOSE, TaskType.INDUCTION)
    if not verdict.ok:
        return Invalid(verdict.status.value, verdict.reason)
    if len(set(verdict.inputs)) < len(verdict.inputs):
        return Invalid("repeated_inputs")
    return InductionProblem(
        language=task.language,
        program=_given_program(task),
        message=answer.message,
        inputs=verdict.inputs,
        outputs=_values(verdict, len(answer.inputs)),
        shown=shown,
        step=step,
    )


def solver_job(task: Task, answer: Answer, job_id: str, all_tests: bool = False) -> Job:
    """The job that checks a solution. The process that runs the answer never sees `expect`, the right values.

    Deduction: the answer's value is the output. Abduction: f of the answered input is the output, whichever input it
    is. Induction: the answered program gives every output, shown and held out. Problems: the answered whole program
    prints what each test expects; the first that fails is the last, unless `all_tests`.

    Raises:
      ValueError: the task is no solver's, or its source is not what its type is made of.
    """
    _require(task, Role.SOLVE)
    source = task.source
    if task.type is TaskType.INDUCTION and isinstance(source, InductionProblem):
        return Job(job_id, JobKind.EVALUATE, source=answer.program, inputs=source.inputs, expect=source.outputs)
    if task.type is TaskType.ABDUCTION and isinstance(source, Triplet):
        return Job(job_id, JobKind.EVALUATE, source=source.program, inputs=(answer.input,), expect=(source.output,))
    if task.type is TaskType.DEDUCTION and isinstance(source, Triplet):
        return Job(job_id, JobKind.VALUE, inputs=(answer.output,), expect=(source.output,))
    if task.type is TaskType.PROBLEMS and isinstance(source, VerifiedProblem):
        tests = {"stdin": source.stdin, "expect_stdout": source.expected, "all_tests": all_tests}
        return Job(job_id, JobKind.PROGRAM, source=answer.program, **tests)
    raise ValueError(f"task {task.id}: a {task.type} solver's source cannot be a {type(source).__name__}")


def solver_outcome(verdict: Verdict) -> tuple[bool, str]:
    """(correct, outcome) of a solution: `correct`, `wrong`, or the status that kept it from giving a value.

    Raises:
      ValueError: an ok verdict of a job without `expect`.
    """
    if not verdict.ok:
        return False, verdict.status.value
    if verdict.correct is None:
        raise ValueError(f"verdict {verdict.id} is ok without a comparison: give the job what it should expect")
    return verdict.correct, "correct" if verdict.correct else "wrong"


def _require(task: Task, role: Role, *types: TaskType) -> None:
    if task.role is not role or (types and task.type not in types):
        wanted = " or ".join(types) or "any type"
        raise ValueError(f"task {task.id} is {task.type} {task.role}: wanted {role} of {wanted}")


def _given_program(task: Task) -> str:
    if not isinstance(task.source, Triplet):
        raise ValueError(f"task {task.id}: an induction proposer's source must be the Triplet with its program")
    return task.source.program


def _proposed(task: Task, answer: Answer) -> tuple[str, tuple[str, ...]]:
    if task.type is TaskType.INDUCTION:
        return _given_program(task), answer.inputs
    return answer.program, (answer.input,)


def _values(verdict: Verdict, count: int) -> tuple[str, ...]:
    if len(verdict.values) != count:
        raise ValueError(f"verdict {verdict.id} is ok with {len(verdict.values)} values for {count} inputs")
    return verdict.values
