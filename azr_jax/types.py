"""The data of the loop, as frozen dataclasses. No jax here.

Task -> (sampler) -> Rollout -> (parser) -> Answer | Invalid -> (executors) -> Verdict -> (rewards) -> Scored.
"""

from __future__ import annotations

import dataclasses
import enum


class TaskType(enum.StrEnum):
    """The three kinds of reasoning about a triplet (p, i, o), and the problems of a file, which are only solved."""

    DEDUCTION = "deduction"
    ABDUCTION = "abduction"
    INDUCTION = "induction"
    PROBLEMS = "problems"


class Role(enum.StrEnum):
    """Whether the model proposes a task or solves one."""

    PROPOSE = "propose"
    SOLVE = "solve"


class StopReason(enum.StrEnum):
    """Why a response ended. `LENGTH` responses hold no end token, and none is added."""

    EOS = "eos"
    STOP_STRING = "stop_string"
    LENGTH = "length"


# The types of self-play: each has a proposer and a solver.
TASK_TYPES: tuple[TaskType, ...] = (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION)
ROLES: tuple[Role, ...] = tuple(Role)


@dataclasses.dataclass(frozen=True, slots=True)
class Triplet:
    """A program `f`, an input and its output, all text in `language`; the output is the executor's canonical text."""

    language: str
    program: str
    input: str
    output: str
    step: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class InductionProblem:
    """A program, a message about it, and its input-output pairs; the first `shown` pairs are shown to the solver."""

    language: str
    program: str
    message: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shown: int
    step: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class VerifiedProblem:
    """A problem of `problems.path`: a statement, and what a program in any language prints for each standard input."""

    name: str
    statement: str
    stdin: tuple[str, ...]
    expected: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One prompt for the model. `id` is unique in a run and names the request's random stream.

    `source` is what the task was made of: the triplet or problem a solver answers, the program (as a Triplet) an
    induction proposer annotates, for deduction and abduction proposers the function g that they are given, or None; for
    the solver of a problem of `problems.path`, that problem.
    `prompt_ids` is the prompt tokenised, once, when the task is made; a task without them cannot be sampled.
    """

    id: str
    role: Role
    type: TaskType
    language: str
    prompt: str
    source: Triplet | InductionProblem | VerifiedProblem | None = None
    prompt_ids: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled response. `token_ids` and `logprobs` have one entry a generated token, the stop token included.

    `text` is the decoded response without the stop token. `logprobs` are of exactly the distribution sampled from.
    The first `earlier_tokens` were sampled by the policy before the last update (`pipeline.lag`).
    """

    request_id: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    stop_reason: StopReason
    earlier_tokens: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a well-formatted response holds; the fields that its task does not ask for are empty."""

    program: str = ""
    input: str = ""
    output: str = ""
    message: str = ""
    inputs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Invalid:
    """Why a response holds no answer: `reason` is a short fixed string (a metric key), `detail` is for a person."""

    reason: str
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Scored:
    """A response with its reward. `outcome` is `correct`, `wrong`, `valid`, an executor status or an Invalid reason.

    For display: `detail` says why it is invalid or gave no value, `claimed` has the values that its program gave.
    """

    task: Task
    rollout: Rollout
    reward: float
    formatted: bool
    correct: bool
    outcome: str
    acc: float | None = None
    detail: str = ""
    claimed: tuple[str, ...] = ()
