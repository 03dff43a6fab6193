"""What is said of several trainings: each of a few, and of many what does not hide their result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..experiment.recorder import RecordOfRun
    from ..experiment.results import Result
    from ..runs.folder import RunFolder

MANY = 10
"""Most seeds or members that have a line each at the start and at the end; of more the result would be lost."""
FIRST = 3
"""Folders that are shown of more."""


def lines(results: Sequence[Result], word: str) -> Iterator[str]:
    """Yield the notes and the folder of each training, which is a `run` or a `member`; of many of the first ones."""
    return _of_many(results, word) if len(results) > MANY else _of_each(results, word)


def _of_each(results: Sequence[Result], word: str) -> Iterator[str]:
    for result in results:
        whose = f"seed {result.seed}: " if len(results) > 1 else ""
        yield from (f"{whose}{note}" for note in result.notes)
        yield f"{word:8}{result.run.dir}"


def _of_many(results: Sequence[Result], word: str) -> Iterator[str]:
    """Yield notes that differ in numbers alone once, with how many seeds have them, and the folders of the first."""
    alike: dict[str, list[tuple[int, str]]] = {}
    for result in results:
        for note in result.notes:
            alike.setdefault(re.sub(r"\d[\d.,e+-]*", "0", note), []).append((result.seed, note))
    for (seed, note), *others in alike.values():
        yield f"seed {seed}{f' and {len(others):,} more' if others else ''}: {note}"
    yield from (f"{word:8}{result.run.dir}" for result in results[:FIRST])
    yield f"        ... and {len(results) - FIRST:,} more"


class SideBySide:
    """Evaluations of many seeds: those of seeds that are trained side by side are one, with their means."""

    def __init__(self) -> None:
        self._going: dict[Path, int] = {}
        """Seeds of the trainings that have begun and not ended."""
        self._found: dict[int, dict[Path, Mapping[str, float]]] = {}
        """Metrics of evaluations by step, of which others are still to come."""

    def begin(self, run: RunFolder, seed: int) -> None:
        """Take in a training at its start."""
        self._going[run.dir] = seed

    def means(self, event: RecordOfRun) -> tuple[str, Mapping[str, float]] | None:
        """Return whose evaluations have all come, with the mean of each metric; None while some are still to come.

        A training that ends is waited for no longer.
        """
        if event.record == "end":
            self._going.pop(event.run.dir, None)
        elif event.record == "evaluation" and event.metrics:
            each = self._found.setdefault(event.step, {})
            each[event.run.dir] = event.metrics
            if each.keys() >= self._going.keys():
                return self._averaged(self._found.pop(event.step))
        return None

    def _averaged(self, each: Mapping[Path, Mapping[str, float]]) -> tuple[str, Mapping[str, float]]:
        seeds = [self._going[run] for run in each if run in self._going]
        first, *others = each.values()
        names = [name for name in first if all(name in one for one in others)]
        whose = f"seed {seeds[0]}" if len(seeds) == 1 else f"mean of {len(each)} seeds, {min(seeds)} to {max(seeds)}"
        return whose, {name: sum(one[name] for one in each.values()) / len(each) for name in names}
