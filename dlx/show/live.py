"""The view of a training on a terminal: progress with the time left, curves of one line, throughput and memory.

What it shows is on the host already. It is drawn by a thread of its own, the more seldom the longer that takes: the
steps do not wait for the terminal.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import isfinite
from typing import TYPE_CHECKING, Any

from .console import console
from .live_state import TrainingState, TrainingStates, apart_from_seed
from .sparkline import ASCII, BLOCKS, sparkline
from .terminal_text import visible, width

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from ..experiment.recorder import TrainingStarted

SOONEST, LATEST = 0.25, 10.0
"""Seconds between two pictures."""
SHARE, MOST = 1 / 300, 1 / 200
"""Of the seconds of the processor that drawing takes, and what it takes at most where a picture is late."""
ROWS = 12
"""Trainings side by side; of more the others are counted."""
WIDEST = 110
"""Columns of the view: what a terminal that gets narrower would wrap is short."""
LEAST_BAR = 8
LONGEST_CURVE = 40


def is_possible() -> bool:
    """Whether stderr is a terminal whose cursor moves, and nobody's log: continuous integration has terminals too."""
    if os.environ.get("CI", "").lower() not in {"", "0", "false"} or not sys.stderr.isatty():
        return False
    return console(stderr=True).is_interactive


@contextmanager
def viewing(begun: Callable[[TrainingStarted], str], count: int) -> Iterator[Callable[[Any], None]]:
    """Yield a callback for trainings, `count` as far as is known; `begun` describes the start of one in words."""
    from rich.live import Live
    from rich.text import Text

    from ..experiment.recorder import TrainingStarted, TrainingWarning

    screen = console(stderr=True)
    view = View(TrainingStates(count), screen)

    def say(text: str, style: str = "") -> None:
        # not wrapped: a path can be copied in one piece
        screen.print(Text(visible(text), style=style), soft_wrap=True)

    described: list[Any] = []

    def callback(event: Any) -> None:
        now = time.monotonic()
        if isinstance(event, TrainingWarning):
            say(event.message, "yellow")
        elif isinstance(event, TrainingStarted):
            before = view.states.start(event, now)
            if before is not None and before.started.stage != event.stage and len(view.states.by_run) == 1:
                say(stage_text(before, now))
            if apart_from_seed(event) not in described:
                described.append(apart_from_seed(event))
                say(begun(event))
            ticker.begin()
        else:
            view.states.add(event, now)

    live = Live(console=screen, auto_refresh=False, get_renderable=view.picture, vertical_overflow="crop")
    ticker = Ticker(live)
    try:
        yield callback
    finally:
        with suppress(OSError):
            ticker.end()


class Ticker(threading.Thread):
    """Draws the view again and again, and waits longer where drawing takes longer."""

    def __init__(self, live: Live) -> None:
        super().__init__(name="dlx-live", daemon=True)
        self.live, self.ending = live, threading.Event()

    def run(self) -> None:
        pictured, spent, cost = time.monotonic(), time.process_time(), 0.0
        # a terminal that is gone ends the drawing, not the training
        with suppress(OSError):
            while not self.ending.wait(SOONEST):
                # of the processor's time, not the clock's: on a busy machine the training has less of it
                since, is_late = time.process_time() - spent, time.monotonic() - pictured >= LATEST
                if since < cost / (MOST if is_late else SHARE):
                    continue
                before = time.thread_time()
                self.live.refresh()
                cost = time.thread_time() - before
                pictured, spent = time.monotonic(), time.process_time()

    def begin(self) -> None:
        """Draw from now on: before the first training there is nothing to see."""
        if not self.live.is_started:
            self.live.start()
            self.start()

    def end(self) -> None:
        """Draw for the last time, and leave the picture there."""
        if self.live.is_started:
            self.ending.set()
            self.join()
            self.live.stop()


class View:
    """What is drawn of trainings at a moment."""

    def __init__(self, states: TrainingStates, screen: Console) -> None:
        self.states, self.screen = states, screen
        self.plain = screen.options.ascii_only or screen.legacy_windows
        self.levels = ASCII if self.plain else BLOCKS

    def picture(self) -> Text:
        """Return the lines for the terminal as it is now."""
        from rich.text import Text

        now = time.monotonic()
        self.states.sample(now)
        columns = min(WIDEST, self.screen.width - 1)
        states = list(self.states)
        if not states:
            return Text("")
        each = self.curves(states[0], columns) if len(states) == 1 else self.rows(states, columns)
        return Text("\n").join([self.bar(columns, now), *each, Text(self.figures(columns, now), style="dim")])

    # --- the lines --------------------------------------------------------------------------------------------------

    def bar(self, columns: int, now: float) -> Text:
        """Return the bar with steps, epoch and the time left, as many of them as fit."""
        from rich.text import Text

        done, total = self.states.progress
        last = list(self.states)[-1]
        left = self.states.left(now)
        parts = [
            f"{done:,}/{total:,}",
            f"{time_text(left)} left" if left is not None and self.states.active else "",
            f"{100 * done // max(1, total)} %",
            f"epoch {last.epoch:,}" if last.epoch and len(self.states.by_run) == 1 else "",
            last.started.stage and f"stage {last.started.stage}",
        ]
        text = fitted([part for part in parts if part], columns - LEAST_BAR - 2)
        room = columns - len(text) - 2
        if room < LEAST_BAR:
            return Text(text[:columns])
        filled = min(room, room * done // max(1, total))
        full, empty = ("#", "-") if self.plain else ("━", "─")
        return Text.assemble((full * filled, "green"), (empty * (room - filled), "dim"), "  ", text)

    def curves(self, state: TrainingState, columns: int) -> list[Text]:
        """Return a line for each metric of one training: its name, last value, and its curve."""
        from rich.text import Text

        names = state.shown
        wide = max((width(visible(name, lines=False)) for name in names), default=0)
        lines = []
        for name in names:
            history, shown = state.histories[name], visible(name, lines=False)
            head = f"{shown}{' ' * (wide - width(shown))}  {value_text(history.last):>9}  "
            best = best_text(state.best) if state.best is not None and name == state.main else ""
            room = columns - width(head)
            best = best if room - len(best) >= LEAST_BAR else ""
            curve = sparkline(history.values, max(0, min(LONGEST_CURVE, room - len(best))), self.levels)
            lines.append(Text.assemble(cut(head, columns), (curve, "cyan"), (best, "dim")))
        return lines

    def rows(self, states: Sequence[TrainingState], columns: int) -> list[Text]:
        """Return a line for each training, under the names of two metrics: losses first, then the main one."""
        from rich.text import Text

        names = two_of([name for state in states for name in state.shown])
        most = max(1, min(ROWS, self.screen.height - 5))
        shown, labels = states[:most], [state.label for state in states[:most]]
        first = max(map(len, labels)) + 2
        steps = max(len(f"{state.started.steps:,}") for state in shown) + 2
        room = max(0, (columns - first - steps) // max(1, len(names)) - 1)
        titles = "".join(f"{cut(visible(name, lines=False), room):<{room + 1}}" for name in names)
        lines = [Text(cut(f"{'':{first}}{'step':<{steps}}{titles}", columns), style="bold")] if names else []
        for label, state in zip(labels, shown, strict=True):
            pieces: list[Any] = [f"{label:<{first}}{state.step:<{steps},}"]
            for name in names:
                history = state.histories.get(name)
                value = value_text(history.last) if history else ""
                length = max(0, min(LONGEST_CURVE, room - 10))
                curve = sparkline(history.values, length, self.levels) if history else ""
                pieces += [f"{value:<9} ", (curve, "cyan"), " " * (room - 9 - len(curve))]
            lines.append(Text.assemble(*pieces))
            lines[-1].truncate(columns)
        if len(states) > most:
            lines.append(Text(f"and {len(states) - most} more", style="dim"))
        return lines

    def figures(self, columns: int, now: float) -> str:
        """Return throughput, elapsed time and memory in a line."""
        rate, states = self.states.examples_per_second, list(self.states)
        ends = [one.ended for one in states if one.ended is not None]
        until = max(ends) if ends and not self.states.active else now
        parts = [
            f"{short(rate[0])} {rate[1]}/s" if rate else "",
            time_text(until - (self.states.began or 0.0)),
            memory_text(states[-1].started.device),
        ]
        return fitted([part for part in parts if part], columns)


# --- words ----------------------------------------------------------------------------------------------------------


def fitted(parts: Sequence[str], columns: int) -> str:
    """Join the first of some parts, as many as fit; the first one in any case."""
    text = parts[0] if parts else ""
    for part in parts[1:]:
        if len(text) + 2 + len(part) <= columns:
            text = f"{text}  {part}"
    return text


def cut(text: str, columns: int) -> str:
    return text if width(text) <= columns else text[: max(0, columns)]


def two_of(names: Sequence[str]) -> list[str]:
    """Return the first loss of the steps and the first metric of the validation part, where there are some."""
    each = dict.fromkeys(names)
    losses, held = ([name for name in each if name.startswith(part)] for part in ("train/", "valid/"))
    return [*losses[:1], *held[:1]] if held else losses[:2]


def value_text(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else str(value)


def short(value: float) -> str:
    """Write a rate: three digits, the rest as zeros."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def best_text(best: tuple[float, int]) -> str:
    return f"  best {value_text(best[0])} at {best[1]:,}"


def time_text(seconds: float) -> str:
    """Write a time: `0:07`, `12:30`, `3:02:00`, `2 d 3:02:00`."""
    whole = round(seconds)
    days, (hours, rest) = whole // 86_400, divmod(whole % 86_400, 3600)
    minutes, last = divmod(rest, 60)
    clock = f"{hours}:{minutes:02}:{last:02}" if hours or days else f"{minutes}:{last:02}"
    return f"{days} d {clock}" if days else clock


def memory_text(device: str) -> str:
    """Write the memory of this process, and what torch holds of a GPU: both are counted on the host."""
    import psutil

    own = f"{psutil.Process().memory_info().rss / 2**20:,.0f} MiB"
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return own
    return f"{own}, GPU {torch.cuda.memory_reserved() / 2**20:,.0f} MiB"


def stage_text(state: TrainingState, now: float) -> str:
    """Write what became of a stage."""
    values = "  ".join(f"{name} {value_text(state.histories[name].last)}" for name in state.shown)
    stage, seconds = state.started.stage, (state.ended or now) - state.began
    return f"stage {stage}: {state.step:,} steps in {time_text(seconds)}  {values}".rstrip()
