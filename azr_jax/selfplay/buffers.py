"""The buffers of valid triplets and induction problems: bounded, without duplicates, exactly saved and restored.

A language has one buffer of triplets, fed by the deduction and the abduction proposer and drawn from by both solvers,
and one of induction problems. Each solver task type has its own queue of entries it has not been given yet. A full
buffer drops its oldest entry for the newest and never stops taking new ones. Duplicates are told by canonical text.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from azr_jax.types import InductionProblem, TaskType, Triplet

Entry = TypeVar("Entry", Triplet, InductionProblem)


class RingBuffer(Generic[Entry]):
    """At most `capacity` entries with distinct keys, the oldest evicted first; O(1) adds, draws of k in O(k).

    Entries are numbered from 0 in the order they were added and entry s lies in slot (s - first) % capacity, where
    first is 0 or, in a restored buffer, the number of the oldest. Only the oldest is ever evicted, so the entries
    present are always those numbered `added - len` to `added - 1`, and any of them is found, uniformly drawn or known
    to be gone by its number alone.
    """

    def __init__(self, capacity: int, queues: Iterable[TaskType]):
        if capacity < 1:
            raise ValueError(f"selfplay.buffer_capacity={capacity}: must be at least 1")
        self.capacity = capacity
        self.added = 0
        self.refused_duplicates = 0
        self._first = 0
        self._entries: list[Entry] = []
        self._keys: list[str] = []
        self._members: set[str] = set()
        self._new: dict[TaskType, collections.deque[int]] = {queue: collections.deque() for queue in queues}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._members

    @property
    def evicted(self) -> int:
        """How many entries made room for newer ones."""
        return self.added - len(self._entries)

    def new_count(self, queue: TaskType) -> int:
        """How many entries the queue's solver has not been given yet."""
        return len(self._new[queue])

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        return [self._at(number) for number in range(self.evicted, self.added)]

    def newest(self, count: int) -> list[Entry]:
        """The last `count` entries, or all there are, oldest first."""
        return [self._at(number) for number in range(max(self.evicted, self.added - count), self.added)]

    def add(self, key: str, entry: Entry, new_for: Iterable[TaskType]) -> bool:
        """Keeps the entry and queues it as new for `new_for`, or counts and refuses a duplicate (False)."""
        if key in self._members:
            self.refused_duplicates += 1
            return False
        if len(self._entries) < self.capacity:
            self._entries.append(entry)
            self._keys.append(key)
        else:
            slot, oldest = self._slot(self.added), self.evicted
            self._members.remove(self._keys[slot])
            self._entries[slot], self._keys[slot] = entry, key
            for queue in self._new.values():
                if queue and queue[0] == oldest:
                    queue.popleft()
        self._members.add(key)
        for queue in new_for:
            self._new[queue].append(self.added)
        self.added += 1
        return True

    def sample(self, count: int, rng: random.Random) -> list[Entry]:
        """Up to `count` entries, uniformly without replacement."""
        numbers = rng.sample(range(self.evicted, self.added), min(count, len(self._entries)))
        return [self._at(number) for number in numbers]

    def draw(self, queue: TaskType, count: int, rng: random.Random) -> list[Entry]:
        """`count` entries: the queue's new ones, oldest first, then uniform ones; none when the buffer is empty.

        The uniform ones are without replacement and differ from the new ones as long as there are others; a buffer
        of fewer than `count` entries fills the rest with uniform repeats.
        """
        if not self._entries:
            return []
        fresh = [self._new[queue].popleft() for _ in range(min(count, len(self._new[queue])))]
        wanted = count - len(fresh)
        # A uniform sample with the fresh ones crossed out is a uniform sample of the others.
        pool = range(self.evicted, self.added)
        taken = set(fresh)
        others = [n for n in rng.sample(pool, min(wanted + len(fresh), len(pool))) if n not in taken][:wanted]
        repeats = [rng.choice(pool) for _ in range(wanted - len(others))]
        return [self._at(number) for number in (*fresh, *others, *repeats)]

    def to_json(self) -> dict[str, Any]:
        """The whole state as plain dicts, lists, text and numbers; entries oldest first."""
        present = range(self.evicted, self.added)
        return {
            "capacity": self.capacity,
            "added": self.added,
            "refused_duplicates": self.refused_duplicates,
            "entries": [_fields_of(self._at(number)) for number in present],
            "keys": [self._keys[self._slot(number)] for number in present],
            "new": {queue.value: list(numbers) for queue, numbers in self._new.items()},
        }

    @classmethod
    def from_json(
        cls, state: Mapping[str, Any], entry_of: Callable[[Mapping[str, Any]], Entry], capacity: int = 0
    ) -> RingBuffer[Entry]:
        """The buffer that `to_json` described; with another `capacity` (0: the saved one), its newest entries.

        Raises:
          ValueError: a state that no buffer can be in.
        """
        entries, keys, added = state["entries"], state["keys"], state["added"]
        if len(entries) > min(added, state["capacity"]) or not len(keys) == len(set(keys)) == len(entries):
            raise ValueError(
                f"buffer state: {len(entries)} entries and {len(set(keys))} distinct keys do not fit added={added},"
                f" capacity={state['capacity']}; the checkpoint is damaged, resume from an earlier one"
            )
        buffer = cls(capacity or state["capacity"], [TaskType(name) for name in state["new"]])
        buffer.added, buffer.refused_duplicates = added, state["refused_duplicates"]
        buffer._keys = list(keys[-buffer.capacity :])
        buffer._entries = [entry_of(entry) for entry in entries[-buffer.capacity :]]
        buffer._first = buffer.evicted
        buffer._members = set(buffer._keys)
        for name, numbers in state["new"].items():
            buffer._new[TaskType(name)].extend(number for number in numbers if number >= buffer.evicted)
        return buffer

    def _slot(self, number: int) -> int:
        return (number - self._first) % self.capacity

    def _at(self, number: int) -> Entry:
        return self._entries[self._slot(number)]


class LanguageBuffers:
    """One language's triplets and induction problems.

    Args:
      capacity: entries kept of each of the two kinds (`selfplay.buffer_capacity`).
      canonical_program: `Language.canonical_program`; programs with the same canonical text are the same program, and
        inputs with the same one, which are texts of the language too, the same input.
    """

    def __init__(self, capacity: int, canonical_program: Callable[[str], str]):
        self._canonical_program = canonical_program
        self.triplets: RingBuffer[Triplet] = RingBuffer(capacity, (TaskType.DEDUCTION, TaskType.ABDUCTION))
        self.problems: RingBuffer[InductionProblem] = RingBuffer(capacity, (TaskType.INDUCTION,))

    def has_triplet(self, program: str, input_text: str) -> bool:
        """Whether a triplet of the same canonical program and the same input is kept."""
        return self._key(program, (input_text,)) in self.triplets

    def has_problem(self, program: str, inputs: tuple[str, ...]) -> bool:
        """Whether a problem of the same canonical program and the same inputs, in their order, is kept."""
        return self._key(program, inputs) in self.problems

    def add_triplet(
        self, triplet: Triplet, new_for: Iterable[TaskType] = (TaskType.DEDUCTION, TaskType.ABDUCTION)
    ) -> bool:
        """Keeps a triplet; False and a count when it is a duplicate.

        Args:
          triplet: a validated one.
          new_for: the solver task types that get it as a new one. Both proposers together can add more triplets in
            a step than one solver type draws; with the proposer's own type alone, as AZR has it, no backlog grows.
        """
        return self.triplets.add(self._key(triplet.program, (triplet.input,)), triplet, new_for)

    def add_problem(self, problem: InductionProblem) -> bool:
        """Keeps an induction problem, new for induction; False and a count when it is a duplicate."""
        return self.problems.add(self._key(problem.program, problem.inputs), problem, (TaskType.INDUCTION,))

    def references(self, count: int, rng: random.Random) -> list[Triplet]:
        """Up to `count` triplets for a proposer's prompt, uniformly without replacement."""
        return self.triplets.sample(count, rng)

    def draw_program(self, rng: random.Random) -> Triplet:
        """The triplet whose program an induction proposer annotates, uniformly.

        Raises:
          ValueError: no triplet is kept; the identity triplet goes in before anything is drawn.
        """
        if not len(self.triplets):
            raise ValueError("the triplet buffer is empty: add the language's identity triplet before drawing")
        return self.triplets.sample(1, rng)[0]

    def draw_solver_tasks(
        self, task_type: TaskType, count: int, rng: random.Random
    ) -> list[Triplet] | list[InductionProblem]:
        """What `count` solver tasks are made of: new ones first, oldest first, the rest uniform (`RingBuffer.draw`).

        Empty only when the buffer is, as the one of problems is at first when `selfplay.seed_problems` is 0.
        """
        if task_type is TaskType.INDUCTION:
            return self.problems.draw(task_type, count, rng)
        return self.triplets.draw(task_type, count, rng)

    def counters(self) -> dict[str, int]:
        """Sizes and running counts, as the metrics have them."""
        counts = {}
        for name, buffer in (("triplets", self.triplets), ("problems", self.problems)):
            counts[f"{name}_size"] = len(buffer)
            counts[f"{name}_added"] = buffer.added
            counts[f"{name}_refused_duplicates"] = buffer.refused_duplicates
            counts[f"{name}_evicted"] = buffer.evicted
        for task_type in TaskType:
            buffer = self.problems if task_type is TaskType.INDUCTION else self.triplets
            counts[f"new_{task_type.value}"] = buffer.new_count(task_type)
        return counts

    def to_json(self) -> dict[str, Any]:
        """The whole state as plain types."""
        return {"triplets": self.triplets.to_json(), "problems": self.problems.to_json()}

    @classmethod
    def from_json(
        cls, state: Mapping[str, Any], canonical_program: Callable[[str], str], capacity: int = 0
    ) -> LanguageBuffers:
        """The buffers that `to_json` described; `capacity` as in `RingBuffer.from_json`."""
        buffers = cls(capacity or state["triplets"]["capacity"], canonical_program)
        buffers.triplets = RingBuffer.from_json(state["triplets"], lambda entry: Triplet(**entry), capacity)
        buffers.problems = RingBuffer.from_json(state["problems"], _problem_of, capacity)
        return buffers

    def _key(self, program: str, inputs: tuple[str, ...]) -> str:
        """A digest of the canonical program and inputs; lengths go in, so no two lists run together."""
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
    def empty(cls, capacity: int, canonical_programs: Mapping[str, Callable[[str], str]]) -> Buffers:
        """Empty buffers for each language of `canonical_programs` (name to `Language.canonical_program`)."""
        return cls({name: LanguageBuffers(capacity, canonical) for name, canonical in canonical_programs.items()})

    def __getitem__(self, language: str) -> LanguageBuffers:
        return self._languages[language]

    def counters(self) -> dict[str, int]:
        """`LANGUAGE/NAME` to number, for every language."""
        return {
            f"{name}/{key}": value
            for name, buffers in self._languages.items()
            for key, value in buffers.counters().items()
        }

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


def _fields_of(entry: Triplet | InductionProblem) -> dict[str, Any]:
    values = ((field.name, getattr(entry, field.name)) for field in dataclasses.fields(entry))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def _problem_of(entry: Mapping[str, Any]) -> InductionProblem:
    return InductionProblem(**{**entry, "inputs": tuple(entry["inputs"]), "outputs": tuple(entry["outputs"])})
