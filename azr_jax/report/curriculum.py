"""Figures of the curriculum: how the proposals change over the steps, and the languages of one run."""

from __future__ import annotations

from collections.abc import Sequence

from azr_jax.report.arms import Arm
from azr_jax.report.curves import BAD, FAIR, POOR, Case, Figure, Panel, joined, names_with, panels, stack
from azr_jax.types import TASK_TYPES

_PROGRAM = (
    ("tokens per program", "tokens", False),
    ("nodes of its syntax tree", "nodes", False),
    ("depth", "depth", False),
    ("difference of two programs", "distance", True),
    ("different programs", "distinct", True),
    ("different outputs", "distinct_outputs", True),
    ("near copies by text", "near_copies", True),
    ("near copies by behaviour", "behaviour_copies", True),
    ("same value on all probes", "constant", True),
)
_HARDNESS: dict[str, Case] = {
    "always solved": (FAIR, ("propose/valid", "propose/acc_one"), lambda valid, share: valid * share),
    "never solved": (POOR, ("propose/valid", "propose/acc_zero"), lambda valid, share: valid * share),
    "refused: in the buffer already": (BAD, ("propose/outcome/duplicate",), lambda share: share),
}


def curriculum(arms: Sequence[Arm]) -> Figure:
    """Size, depth and difference of a step's valid programs; proposals that teach nothing."""
    program_panels = []
    for title, key, share in _PROGRAM:
        suffix = f"/program/{key}"
        keys = {name.removesuffix(suffix): f"propose/{name}" for name in names_with(arms, "propose/", suffix)}
        if keys:
            program_panels += panels(title, arms, keys, share=share)
    for kind in TASK_TYPES:
        suffix = f"/band_{kind.value}"
        keys = {name.removesuffix(suffix): f"buffer/{name}" for name in names_with(arms, "buffer/", suffix)}
        if keys:
            program_panels += panels(f"in the band, {kind.value}", arms, keys, share=True)
    for arm in arms:
        program_panels.append(stack(joined("trivial, too hard, or a copy", arm, arms), arm, _HARDNESS))
    caption = (
        "Of the valid programs that a step's deduction and abduction proposers wrote, by language. Depth: of the syntax"
        " tree (Python, Racket), elsewhere of brackets. Difference: 1 less the share of 4-grams of tokens that two"
        " programs have in common, over all pairs. Near copies: programs with another of the step that shares more than"
        " half of its 4-grams of tokens, or gives the same values on the probe inputs. Same value on all probes:"
        " programs that ignore their input, of those that give two values or more. In the band: tasks with known tries"
        " whose solved share lies between selfplay.band_low and band_high. The last panel is of all proposals: those"
        " whose samples were all right, those whose samples were all wrong, and those refused because the buffer has"
        " them."
    )
    return Figure("curriculum", "Curriculum by step", caption, tuple(program_panels))


def languages(arms: Sequence[Arm]) -> list[Figure]:
    """One figure of each language's own numbers in a run of several languages; none for other runs."""
    own_panels: list[Panel] = []
    for title, prefix, suffix in (
        ("solver accuracy", "solve/", "/accuracy"),
        ("valid proposals", "propose/", "/valid"),
        ("mean acc of valid proposals", "propose/", "/acc"),
        ("held-out problems, greedy", "eval/heldout/greedy/", "/all/accuracy"),
    ):
        names = [name.removesuffix(suffix) for name in names_with(arms, prefix, suffix)]
        keys = {name: f"{prefix}{name}{suffix}" for name in names if name in _trained(arms)}
        if keys:
            own_panels += panels(title, arms, keys, share=True)
    caption = "Languages that one run trains together, each with its own buffers."
    return [Figure("languages", "Languages by step", caption, tuple(own_panels))] if own_panels else []


def _trained(arms: Sequence[Arm]) -> set[str]:
    trained = (run.config.get("languages", ()) for arm in arms for run in arm.runs)
    return {name for names in trained if len(names) > 1 for name in names}
