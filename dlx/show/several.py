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


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Write metrics in a line: `valid/loss 0.0712  valid/accuracy 0.983`."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


class SideBySide:
    """Evaluations of many seeds: those of seeds that are trained side by side are one, with their means."""

    def __init__(self) -> None:
        self._seeds: dict[Path, int] = {}
        self._ended: set[Path] = set()
        self._found: dict[int, dict[Path, RecordOfRun]] = {}
        """Evaluations by step, of which others are still to come."""

    def begin(self, run: RunFolder, seed: int) -> None:
        """Take in a training at its start."""
        self._seeds[run.dir] = seed

    def line(self, event: RecordOfRun) -> str:
        """Return what to say of an evaluation once those of all seeds that go on have come; empty before, and for
        other records. A training that ends is waited for no longer.
        """
        if event.record == "end":
            self._ended.add(event.run.dir)
        elif event.record == "evaluation" and event.metrics:
            self._found.setdefault(event.step, {})[event.run.dir] = event
        going = self._seeds.keys() - self._ended
        whole = [step for step, each in self._found.items() if each.keys() >= going]
        return "\n".join(self._text(list(self._found.pop(step).values())) for step in whole)

    def _text(self, each: Sequence[RecordOfRun]) -> str:
        first, *others = each
        seeds = sorted(self._seeds[one.run.dir] for one in each)
        whose = f"mean of {len(each)} seeds, {seeds[0]} to {seeds[-1]}" if others else f"seed {seeds[0]}"
        names = [name for name in first.metrics if all(name in one.metrics for one in others)]
        means = {name: sum(one.metrics[name] for one in each) / len(each) for name in names}
        return f"{whose}  step {first.step:,}  epoch {first.epoch}  {metrics_text(means)}"
