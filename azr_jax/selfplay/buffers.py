"""The buffers of valid triplets and induction problems: bounded, exactly saved and restored.

A language has triplets and induction problems. `selfplay.buffers` says whether the deduction and the abduction proposer
feed one buffer of triplets, drawn from by both solvers ("shared"), or one each ("apart", as in AZR). Each solver task
type has its own queue of entries it has not been given yet. A full buffer drops its oldest entry for the newest and
never stops taking new ones. Duplicates are recognised by canonical text.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from azr_jax.selfplay.ring import DrawRule, RingBuffer
from azr_jax.types import TASK_TYPES, InductionProblem, TaskType, Triplet

_TRIPLET_TYPES = (TaskType.DEDUCTION, TaskType.ABDUCTION)


class LanguageBuffers:
    """One language's triplets and induction problems.

    Args:
      capacity: entries kept of each buffer (`selfplay.buffer_capacity`).
      canonical_program: `Language.canonical_program`; programs with the same canonical text are the same program, and
        likewise inputs.
      apart: whether deduction and abduction have a buffer of triplets each.
      duplicates: whether an entry may be kept twice, as in AZR.
    """

    def __init__(
        self, capacity: int, canonical_program: Callable[[str], str], apart: bool = False, duplicates: bool = False
    ):
        self._canonical_program = canonical_program
        self.problems: RingBuffer[InductionProblem] = RingBuffer(capacity, (TaskType.INDUCTION,), duplicates)
        groups = [(kind,) for kind in _TRIPLET_TYPES] if apart else [_TRIPLET_TYPES]
        self._triplets: list[RingBuffer[Triplet]] = [RingBuffer(capacity, kinds, duplicates) for kinds in groups]

    @property
    def apart(self) -> bool:
        """Whether deduction and abduction have a buffer of triplets each."""
        return len(self._triplets) > 1

    @property
    def duplicates(self) -> bool:
        """Whether an entry may be kept twice."""
        return self.problems.duplicates

    def triplets_of(self, kind: TaskType) -> RingBuffer[Triplet]:
        """The buffer of triplets that a deduction or abduction proposer feeds and its solver draws from."""
        return self._triplets[_TRIPLET_TYPES.index(kind) % len(self._triplets)]

    @property
    def triplets(self) -> RingBuffer[Triplet]:
        """The buffer of triplets; with buffers apart, that of deduction."""
        return self._triplets[0]

    def has_triplet(self, program: str, input_text: str) -> bool:
        """Whether a triplet of the same canonical program and the same input is kept."""
        key = self._key(program, (input_text,))
        return any(key in buffer for buffer in self._triplets)

    def has_problem(self, program: str, inputs: tuple[str, ...]) -> bool:
        """Whether a problem of the same canonical program and the same inputs, in their order, is kept."""
        return self._key(program, inputs) in self.problems

    def add_triplet(self, triplet: Triplet, new_for: Iterable[TaskType] = _TRIPLET_TYPES) -> bool:
        """Keeps a triplet; counts and refuses a duplicate (False).

        Args:
          triplet: a validated one. With buffers apart, a seed (step 0) goes into both, any other into those of
            `new_for`.
          new_for: the solver task types that get it as a new one. Both proposers together can add more triplets in
            a step than one solver type draws; with the proposer's own type alone, as AZR has it, no backlog grows.
        """
        key, new_for = self._key(triplet.program, (triplet.input,)), tuple(new_for)
        if not self.apart:
            return self.triplets.add(key, triplet, new_for)
        kinds = _TRIPLET_TYPES if triplet.step == 0 else new_for
        kept = [self.triplets_of(kind).add(key, triplet, {kind} & set(new_for)) for kind in kinds]
        return any(kept)

    def add_problem(self, problem: InductionProblem) -> bool:
        """Keeps an induction problem, new for induction; counts and refuses a duplicate (False)."""
        return self.problems.add(self._key(problem.program, problem.inputs), problem, (TaskType.INDUCTION,))

    def references(self, count: int, rng: random.Random, kind: TaskType = TaskType.DEDUCTION) -> list[Triplet]:
        """Up to `count` triplets for the prompt of a proposer of this kind, uniformly without replacement."""
        return self.triplets_of(kind).sample(count, rng)

    def newest(self, count: int) -> list[Triplet]:
        """The `count` newest triplets of each buffer, oldest first; one that is in two buffers is given once."""
        kept = [entry for buffer in self._triplets for entry in buffer.newest(count)]
        return list({self._key(entry.program, (entry.input,)): entry for entry in kept}.values())

    def draw_program(self, rng: random.Random) -> Triplet:
        """The triplet whose program an induction proposer annotates, uniformly over all buffers of triplets.

        Raises:
          ValueError: no triplet is kept; the identity triplet goes in before anything is drawn.
        """
        sizes = [len(buffer) for buffer in self._triplets]
        if not any(sizes):
            raise ValueError("the triplet buffer is empty: add the language's identity triplet before drawing")
        buffer = self.triplets if len(sizes) == 1 else rng.choices(self._triplets, sizes)[0]
        return buffer.sample(1, rng)[0]

    def draw_solver_tasks(
        self, task_type: TaskType, count: int, rng: random.Random, how: DrawRule | None = None
    ) -> list[Triplet] | list[InductionProblem]:
        """The items of `count` solver tasks: new ones first, the rest uniform (`RingBuffer.draw`).

        Empty only if the buffer is, as that of problems is at first if `selfplay.seed_problems` is 0.
        """
        if task_type is TaskType.INDUCTION:
            return self.problems.draw(task_type, count, rng, how)
        return self.triplets_of(task_type).draw(task_type, count, rng, how)

    def note_solves(self, task_type: TaskType, item: Triplet | InductionProblem, correct: int, tries: int) -> None:
        """Adds a solver's tries at an item, estimates and solutions alike, to the item's counts."""
        if isinstance(item, InductionProblem):
            self.problems.note_solves(task_type, self._key(item.program, item.inputs), correct, tries)
        else:
            key = self._key(item.program, (item.input,))
            self.triplets_of(task_type).note_solves(task_type, key, correct, tries)

    def band_shares(self, how: DrawRule) -> dict[str, float]:
        """Share of the entries with noted tries that are in the band, for each task type that has any."""
        shares = {kind: self._buffer_of(kind).band_share(kind, how) for kind in TASK_TYPES}
        return {f"band_{kind.value}": share for kind, share in shares.items() if share is not None}

    def _buffer_of(self, kind: TaskType) -> RingBuffer[Any]:
        return self.problems if kind is TaskType.INDUCTION else self.triplets_of(kind)

    def counters(self) -> dict[str, int]:
        """Sizes and running counts, as the metrics have them; of triplets over all their buffers."""
        counts = {}
        for name, buffers in (("triplets", self._triplets), ("problems", [self.problems])):
            counts[f"{name}_size"] = sum(map(len, buffers))
            counts[f"{name}_added"] = sum(buffer.added for buffer in buffers)
            counts[f"{name}_refused_duplicates"] = sum(buffer.refused_duplicates for buffer in buffers)
            counts[f"{name}_evicted"] = sum(buffer.evicted for buffer in buffers)
        return counts | {f"new_{kind.value}": self._buffer_of(kind).new_count(kind) for kind in TASK_TYPES}

    def copy(self) -> LanguageBuffers:
        """Independent buffers, as `RingBuffer.copy`."""
        copied = copy.copy(self)
        copied._triplets, copied.problems = [buffer.copy() for buffer in self._triplets], self.problems.copy()
        return copied

    def to_json(self) -> dict[str, Any]:
        """The whole state as plain types."""
        return {"triplets": [buffer.to_json() for buffer in self._triplets], "problems": self.problems.to_json()}

    @classmethod
    def from_json(
        cls, state: Mapping[str, Any], canonical_program: Callable[[str], str], capacity: int = 0
    ) -> LanguageBuffers:
        """The buffers that `to_json` described; `capacity` as in `RingBuffer.from_json`."""
        triplets, problems = state["triplets"], state["problems"]
        buffers = cls(capacity or problems["capacity"], canonical_program, len(triplets) > 1, problems["duplicates"])
        buffers._triplets = [RingBuffer.from_json(part, lambda entry: Triplet(**entry), capacity) for part in triplets]
        buffers.problems = RingBuffer.from_json(problems, _problem_of, capacity)
        return buffers

    def _key(self, program: str, inputs: tuple[str, ...]) -> str:
        """A digest of the canonical program and inputs; lengths are hashed too, so that no two lists collide."""
        digest = hashlib.sha256()
        for text in (program, *inputs):
            content = self._canonical_program(text.strip()).encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
        return digest.hexdigest()[:32]


class Buffers:
    """The buffers of every language of a run: `buffers["racket"].add_triplet(...)`."""

    def __init__(self, languages: Mapping[str, LanguageBuffers]):
        self._languages = dict(languages)

    @classmethod
    def empty(
        cls,
        capacity: int,
        canonical_programs: Mapping[str, Callable[[str], str]],
        apart: bool = False,
        duplicates: bool = False,
    ) -> Buffers:
        """Empty buffers for each language of `canonical_programs` (name to `Language.canonical_program`)."""
        return cls(
            {
                name: LanguageBuffers(capacity, canonical, apart, duplicates)
                for name, canonical in canonical_programs.items()
            }
        )

    def __getitem__(self, language: str) -> LanguageBuffers:
        return self._languages[language]

    def counters(self) -> dict[str, int]:
        """`LANGUAGE/NAME` to number, for every language."""
        return {
            f"{name}/{key}": value
            for name, buffers in self._languages.items()
            for key, value in buffers.counters().items()
        }

    def copy(self) -> Buffers:
        """Independent copies: a step changes a copy and leaves its input unchanged. Takes milliseconds."""
        return Buffers({name: buffers.copy() for name, buffers in self._languages.items()})

    def to_json(self) -> dict[str, Any]:
        """The whole state as plain types, for the checkpoint."""
        return {name: buffers.to_json() for name, buffers in self._languages.items()}

    @classmethod
    def from_json(
        cls, state: Mapping[str, Any], canonical_programs: Mapping[str, Callable[[str], str]], capacity: int = 0
    ) -> Buffers:
        """The buffers that `to_json` described; `capacity` as in `RingBuffer.from_json`.

        Raises:
          ValueError: the saved languages are not those of the run.
        """
        if set(state) != set(canonical_programs):
            raise ValueError(
                f"languages={tuple(canonical_programs)!r}: the checkpoint's buffers are for {tuple(state)!r};"
                " set languages to those, or start a new run"
            )
        languages = {
            name: LanguageBuffers.from_json(saved, canonical_programs[name], capacity) for name, saved in state.items()
        }
        return cls(languages)


def _problem_of(entry: Mapping[str, Any]) -> InductionProblem:
    return InductionProblem(**{**entry, "inputs": tuple(entry["inputs"]), "outputs": tuple(entry["outputs"])})
