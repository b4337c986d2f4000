"""A bounded buffer of numbered entries: which each solver has not seen, how often solved, how tasks are drawn."""

from __future__ import annotations

import collections
import copy
import dataclasses
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from azr_jax.config import SelfplaySettings
from azr_jax.types import InductionProblem, TaskType, Triplet

Entry = TypeVar("Entry", Triplet, InductionProblem)


@dataclasses.dataclass(frozen=True, slots=True)
class DrawRule:
    """How solver tasks are drawn besides new ones first.

    shuffle_new: new ones in random order, as in AZR, instead of oldest first. low, high: entries whose share of correct
    tries is between them, ends included, come before the others, and a new one outside does not come first (R-Zero,
    arXiv 2508.05004, trains its solver on those near one half alone; AZR's code offers "non_extremes"); 0 and 1: no
    band.
    """

    shuffle_new: bool = False
    low: float = 0.0
    high: float = 1.0

    @property
    def has_band(self) -> bool:
        """Whether some shares are outside the band."""
        return self.low > 0.0 or self.high < 1.0

    def holds(self, share: float) -> bool:
        """Whether a share of correct tries is in the band, ends included."""
        return self.low <= share <= self.high


def draw_rule(settings: SelfplaySettings) -> DrawRule:
    """The rule of a run's settings: `shuffle_new`, `band_low`, `band_high`."""
    return DrawRule(settings.shuffle_new, settings.band_low, settings.band_high)


class RingBuffer(Generic[Entry]):
    """At most `capacity` entries, the oldest evicted first; O(1) adds, draws of k in O(k).

    Keys are distinct unless `duplicates`. Solvers' results on an entry (`note_solves`) stay with it; entries of one key
    share theirs.
    Entries are numbered from 0 in the order they were added and entry s is stored in slot (s - first) % capacity, where
    first is 0 or, in a restored buffer, the number of the oldest. Only the oldest is ever evicted, so the entries
    present are always those numbered `added - len` to `added - 1`: any of them can be looked up, uniformly drawn or
    recognised as evicted by its number.
    """

    def __init__(self, capacity: int, queues: Iterable[TaskType], duplicates: bool = False):
        if capacity < 1:
            raise ValueError(f"selfplay.buffer_capacity={capacity}: must be at least 1")
        self.capacity, self.duplicates = capacity, duplicates
        self.added = 0
        self.refused_duplicates = 0
        self._first = 0
        self._entries: list[Entry] = []
        self._keys: list[str] = []
        self._newest: dict[str, int] = {}  # the number of each key's newest entry
        self._solves: dict[TaskType, dict[str, list[int]]] = {queue: {} for queue in queues}  # key: [correct, all]
        self._new: dict[TaskType, collections.deque[int]] = {queue: collections.deque() for queue in self._solves}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._newest

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
        """The last `count` entries, oldest first; fewer when there are no more."""
        return [self._at(number) for number in range(max(self.evicted, self.added - count), self.added)]

    def add(self, key: str, entry: Entry, new_for: Iterable[TaskType]) -> bool:
        """Keeps the entry and queues it as new for `new_for`, or counts and refuses a duplicate (False)."""
        if key in self._newest and not self.duplicates:
            self.refused_duplicates += 1
            return False
        if len(self._entries) < self.capacity:
            self._entries.append(entry)
            self._keys.append(key)
        else:
            slot, oldest = self._slot(self.added), self.evicted
            if self._newest[self._keys[slot]] == oldest:
                del self._newest[self._keys[slot]]
                for solves in self._solves.values():
                    solves.pop(self._keys[slot], None)
            self._entries[slot], self._keys[slot] = entry, key
            for queue in self._new.values():
                if queue and queue[0] == oldest:
                    queue.popleft()
        self._newest[key] = self.added
        for queue in new_for:
            self._new[queue].append(self.added)
        self.added += 1
        return True

    def sample(self, count: int, rng: random.Random) -> list[Entry]:
        """Up to `count` entries, uniformly without replacement."""
        numbers = rng.sample(range(self.evicted, self.added), min(count, len(self._entries)))
        return [self._at(number) for number in numbers]

    def note_solves(self, queue: TaskType, key: str, correct: int, tries: int) -> None:
        """Adds a solver's tries to those of the entries of this key; ignored if all are gone."""
        if key in self._newest:
            solves = self._solves[queue].setdefault(key, [0, 0])
            solves[0], solves[1] = solves[0] + correct, solves[1] + tries

    def acc(self, queue: TaskType, key: str) -> float | None:
        """The share of noted tries at the entries of this key that were correct; None without any."""
        correct, tries = self._solves[queue].get(key, (0, 0))
        return correct / tries if tries else None

    def draw(self, queue: TaskType, count: int, rng: random.Random, how: DrawRule | None = None) -> list[Entry]:
        """`count` entries: the queue's new ones first, then uniform ones; none when the buffer is empty.

        New ones come oldest first, or shuffled; those that do not fit stay new. The uniform ones are without
        replacement and differ from the new ones as long as there are others; a buffer of fewer than `count` entries
        fills the rest with uniform repeats. With a band, entries inside it are drawn before all others, and new ones
        whose estimates lie outside it are no longer new.
        """
        if not self._entries:
            return []
        how = how or DrawRule()
        shares = self._shares(queue) if how.has_band else {}
        in_band = {number for number, share in shares.items() if how.holds(share)}
        if outside := shares.keys() - in_band:
            self._new[queue] = collections.deque(number for number in self._new[queue] if number not in outside)
        if how.shuffle_new:
            shuffled = list(self._new[queue])
            rng.shuffle(shuffled)
            fresh, left = shuffled[:count], set(shuffled[count:])
            self._new[queue] = collections.deque(number for number in self._new[queue] if number in left)
        else:
            fresh = [self._new[queue].popleft() for _ in range(min(count, len(self._new[queue])))]
        wanted = count - len(fresh)
        # A uniform sample with the fresh ones crossed out is a uniform sample of the others.
        pool = range(self.evicted, self.added)
        taken = set(fresh)
        inside = [number for number in rng.sample(sorted(in_band), len(in_band)) if number not in taken][:wanted]
        taken |= set(inside)
        wanted -= len(inside)
        others = [n for n in rng.sample(pool, min(wanted + len(taken), len(pool))) if n not in taken][:wanted]
        repeats = [rng.choice(pool) for _ in range(wanted - len(others))]
        return [self._at(number) for number in (*fresh, *inside, *others, *repeats)]

    def band_share(self, queue: TaskType, how: DrawRule) -> float | None:
        """The share of entries inside the band among those with noted tries; None without any."""
        shares = self._shares(queue).values()
        return sum(map(how.holds, shares)) / len(shares) if shares else None

    def _shares(self, queue: TaskType) -> dict[int, float]:
        """The share of correct tries of each entry with noted tries, by the entry's number."""
        solves = self._solves[queue]
        keys = ((number, self._keys[self._slot(number)]) for number in range(self.evicted, self.added))
        return {number: solves[key][0] / solves[key][1] for number, key in keys if key in solves}

    def copy(self) -> RingBuffer[Entry]:
        """An independent copy; the entries, which never change, are shared."""
        copied = copy.copy(self)
        copied._entries, copied._keys, copied._newest = list(self._entries), list(self._keys), dict(self._newest)
        copied._new = {queue: numbers.copy() for queue, numbers in self._new.items()}
        copied._solves = {
            queue: {key: list(counts) for key, counts in solves.items()} for queue, solves in self._solves.items()
        }
        return copied

    def to_json(self) -> dict[str, Any]:
        """The whole state as plain dicts, lists, text and numbers; entries oldest first."""
        present = range(self.evicted, self.added)
        return {
            "capacity": self.capacity,
            "duplicates": self.duplicates,
            "added": self.added,
            "refused_duplicates": self.refused_duplicates,
            "entries": [_fields_of(self._at(number)) for number in present],
            "keys": [self._keys[self._slot(number)] for number in present],
            "new": {queue.value: list(numbers) for queue, numbers in self._new.items()},
            "solves": {
                queue.value: [[self._newest[key], *counts] for key, counts in solves.items()]
                for queue, solves in self._solves.items()
            },
        }

    @classmethod
    def from_json(
        cls, state: Mapping[str, Any], entry_of: Callable[[Mapping[str, Any]], Entry], capacity: int = 0
    ) -> RingBuffer[Entry]:
        """The buffer that `to_json` described; with another `capacity` (0: the saved one), its newest entries.

        Raises:
          ValueError: an impossible state.
        """
        entries, keys, added = state["entries"], state["keys"], state["added"]
        distinct = len(entries) if state["duplicates"] else len(set(keys))
        if len(entries) > min(added, state["capacity"]) or not len(keys) == distinct == len(entries):
            raise ValueError(
                f"buffer state: {len(entries)} entries and {len(set(keys))} distinct keys do not fit added={added},"
                f" capacity={state['capacity']}; the checkpoint is damaged, resume from an earlier one"
            )
        queues = [TaskType(name) for name in state["new"]]
        buffer = cls(capacity or state["capacity"], queues, state["duplicates"])
        buffer.added, buffer.refused_duplicates = added, state["refused_duplicates"]
        buffer._keys = list(keys[-buffer.capacity :])
        buffer._entries = [entry_of(entry) for entry in entries[-buffer.capacity :]]
        buffer._first = buffer.evicted
        buffer._newest = {key: buffer.evicted + place for place, key in enumerate(buffer._keys)}
        for name, numbers in state["new"].items():
            buffer._new[TaskType(name)].extend(number for number in numbers if number >= buffer.evicted)
        for name, counts in state["solves"].items():
            kept = {
                buffer._keys[number - buffer.evicted]: tried for number, *tried in counts if number >= buffer.evicted
            }
            buffer._solves[TaskType(name)] = kept
        return buffer

    def _slot(self, number: int) -> int:
        return (number - self._first) % self.capacity

    def _at(self, number: int) -> Entry:
        return self._entries[self._slot(number)]


def _fields_of(entry: Triplet | InductionProblem) -> dict[str, Any]:
    values = ((field.name, getattr(entry, field.name)) for field in dataclasses.fields(entry))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}
