"""The problems found while the networks of a spec are traced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ...errors import Mark, Problem
from ...spec.validation import MAX_PROBLEMS


class Problems:
    """The problems found so far; a mistake in a block is reported once, not for each use of the block."""

    def __init__(self, found: Sequence[Problem] = ()) -> None:
        self.found = list(found)
        self._keys = {self._key(p) for p in found}
        self._calls: tuple[Mark, ...] = ()

    @contextmanager
    def within(self, call: Mark) -> Iterator[None]:
        """Add to the problems found meanwhile the place where their block is called."""
        outer, self._calls = self._calls, (call, *self._calls)
        try:
            yield
        finally:
            self._calls = outer

    def add(self, problem: Problem, cause: str = "") -> None:
        """Add a problem, unless one of the same place and cause is known.

        `cause` is the message without what differs between uses of a block; by default, without digits.
        """
        key = self._key(problem, cause)
        if key not in self._keys and not self.full:
            self._keys.add(key)
            self.found.append(replace(problem, calls=self._calls) if self._calls else problem)

    @property
    def full(self) -> bool:
        """Whether the limit of problems that are reported is reached."""
        return len(self.found) > MAX_PROBLEMS

    @staticmethod
    def _key(problem: Problem, cause: str = "") -> tuple[object, ...]:
        return (problem.mark, "".join(c for c in cause or problem.message if not c.isdigit()))
