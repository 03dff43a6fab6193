"""Progress in a notebook: HTML that is replaced a few times a second; no widgets are needed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import html

EVERY = 0.25
"""Least seconds between two updates: each is a message to the browser."""


def is_here() -> bool:
    """Whether a kernel runs this program, so that displayed objects appear in a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class Bar:
    """Lines of text, a progress bar, and the latest figures."""

    def __init__(self) -> None:
        self.head: list[str] = []
        self.done, self.total = 0, 0
        self.latest = ""

    def _repr_html_(self) -> str:
        head = "".join(f"<div>{html.text(line)}</div>" for line in self.head)
        bar = f'<progress value="{self.done}" max="{max(self.total, 1)}" style="width: 20em"></progress>'
        count = f"{self.done:,}/{self.total:,}" if self.total else ""
        return f"<div>{head}{bar} {count} {html.text(self.latest)}</div>"

    def __repr__(self) -> str:
        return "\n".join([*self.head, f"{self.done:,}/{self.total:,} {self.latest}".rstrip()])


@contextmanager
def displayed() -> Iterator[tuple[Bar, Callable[[], None]]]:
    """Yield a bar in the output of the cell, and a function that updates it; the last state is always shown."""
    from IPython.display import display

    bar, shown = Bar(), [0.0]
    handle: list[Any] = []

    def show(at_once: bool = False) -> None:
        if not at_once and time.monotonic() - shown[0] < EVERY:
            return
        shown[0] = time.monotonic()
        if handle:
            handle[0].update(bar)
        else:
            handle.append(display(bar, display_id=True))

    try:
        yield bar, show
    finally:
        if bar.head:
            show(at_once=True)


@contextmanager
def training(start_text: Callable[[Any], str], figures: Callable[[Any], str]) -> Iterator[Callable[[Any], None]]:
    """Yield a callback for a training; the functions describe its start and a record in words."""
    from ..experiment.runner import TrainingStarted, TrainingWarning

    with displayed() as (bar, show):

        def callback(event: Any) -> None:
            if isinstance(event, TrainingWarning):
                bar.head.append(event.message)
            elif isinstance(event, TrainingStarted):
                bar.head += start_text(event).splitlines()
                bar.done, bar.total = event.step, event.steps
            else:
                bar.done, bar.latest = event.step, figures(event)
            show()

        yield callback


@contextmanager
def sweeping(opening: Callable[[Any], str], figure: Callable[[Any, Any], str]) -> Iterator[Callable[[Any], None]]:
    """Yield a callback for a sweep; the functions describe its start and the best trial in words."""
    from ..sweeps.events import Noted, Opened

    with displayed() as (bar, show):
        studies: list[Any] = []

        def callback(event: Any) -> None:
            if isinstance(event, Opened):
                studies.append(event.study)
                bar.head.append(opening(event))
                bar.total = event.plan.trials
            elif isinstance(event, Noted):
                bar.head.append(event.text)
            bar.done = sum(trial.state not in {"waiting", "running"} for trial in studies[0].trials)
            if (best := studies[0].best()) is not None:
                bar.latest = f"best {figure(studies[0], best)}"
            show()

        yield callback
