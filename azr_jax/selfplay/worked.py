"""Few-shot prompts: tasks with their finished responses before the task that is asked (`selfplay.worked_examples`).

A small pretrained model that has never seen the format continues a pattern even if it does not follow an instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from azr_jax.selfplay import prompts
from azr_jax.types import InductionProblem, Role, TaskType, Triplet
from executors.language import Language

Item = Triplet | InductionProblem
# Examples by language and task type; a language without any shows none.
Examples = Mapping[str, Mapping[TaskType, Sequence[Item]]]


def solved(language: Language, kind: TaskType, items: Sequence[Item], template: str, drop_comments: bool) -> str:
    """Solver's prompts, each with the right answer."""
    return "".join(
        _exchange(prompts.solve(language, kind, item, template, drop_comments), _solution(language, kind, item))
        for item in items
    )


def proposed(language: Language, kind: TaskType, items: Sequence[Item], template: str, inputs: int) -> str:
    """Proposer's prompts without references, each with the item as its response."""
    text = ""
    for item in items:
        if isinstance(item, InductionProblem):
            prompt = prompts.propose_induction(language, item.program, inputs, template)
            blocks = [("message", item.message), *(("input", given) for given in item.inputs[:inputs])]
        else:
            prompt = prompts.propose_triplet(language, kind, (), template)
            blocks = [(language.fence, item.program), ("input", item.input)]
        text += _exchange(prompt, blocks)
    return text


def by_language(problems: Sequence[tuple[TaskType, Item]]) -> Examples:
    """The problems of a problems file by language and type."""
    examples: dict[str, dict[TaskType, list[Item]]] = {}
    for kind, item in problems:
        examples.setdefault(item.language, {}).setdefault(kind, []).append(item)
    return examples


def role_examples(examples: Examples, language: str, role: Role, kind: TaskType) -> Sequence[Item]:
    """The examples for a task: deduction's and abduction's proposers are shown triplets of either type."""
    own = examples.get(language, {})
    if role is Role.PROPOSE and kind is not TaskType.INDUCTION:
        return [*own.get(TaskType.DEDUCTION, ()), *own.get(TaskType.ABDUCTION, ())]
    return own.get(kind, ())


def _solution(language: Language, kind: TaskType, item: Item) -> list[tuple[str, str]]:
    if isinstance(item, InductionProblem):
        return [(language.fence, item.program)]
    return [("output", item.output)] if kind is TaskType.DEDUCTION else [("input", item.input)]


def _exchange(prompt: str, blocks: Sequence[tuple[str, str]]) -> str:
    answer = "".join(prompts.fenced(tag, text) for tag, text in blocks)
    return f"{prompt}\n</think>\n<answer>\n{answer}</answer>\n\n"
