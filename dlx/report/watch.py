"""A report that is written anew while its runs go on, and loads itself anew in the browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DlxError
from ..runs.folder import RunFolder
from ..runs.records import RECORDS
from ..sweeps.study import JOURNAL, is_running
from .page import Page, PageOptions, page
from .plot_groups import groups, study_of

SOONEST = 3.0
"""Seconds between two pages at least."""
SHARE = 1 / 10
"""Of one processor's time that pages may take: the training has the rest."""
ALIVE = 30.0
"""Seconds after which a page is stamped anew where nothing was recorded: one that is not has lost its writer."""
GRACE = 3.0
"""Seconds for which nothing may run before the page is the last one: the next seed or trial may have to begin."""
LOOK = 0.5
"""Seconds between two looks at whether something runs."""


def watch(names: Sequence[str], root: Path, options: PageOptions, path: Path, begun: Callable[[float], None]) -> Page:
    """Write the page anew until nothing of it runs, and return the last one, which loads itself no more.

    `begun` is called with the seconds between two pages once the first one is there. What ends this before, such as
    Ctrl-C, leaves a page that loads itself no more. DlxError where a run is not there.
    """
    if options.mistakes:
        message = "`--mistakes` measures networks anew, and with `--watch` they are still trained"
        raise DlxError(message, hint="Leave one of the two out.")
    watched, pause, written = _Watched(tuple(names), root, options.each), SOONEST, 0.0
    before, last = None, None
    try:
        while watched.goes_on():
            now = watched.state()
            if now is not None and now != before:
                used = time.process_time()
                last = page(names, root, replace(options, reload=pause))
                pause = max(SOONEST, (time.process_time() - used) / SHARE)
                last.write(path)
                if before is None:
                    begun(pause)
                before, written = now, time.monotonic()
            elif last is not None and time.monotonic() - written > ALIVE:
                last, written = last.as_of_now(), time.monotonic()
                last.write(path)
            watched.wait(pause)
    except BaseException:
        if last is not None:
            last.at_rest().write(path)
        raise
    last = page(names, root, options)
    last.write(path)
    return last


@dataclass(frozen=True)
class _Watched:
    """What a page is of."""

    names: tuple[str, ...]
    root: Path
    each: bool

    def goes_on(self) -> bool:
        """Whether something runs; where nothing does, whether it does a moment later."""
        if self.runs_now(self.runs()):
            return True
        time.sleep(GRACE)
        return self.runs_now(self.runs())

    def runs_now(self, runs: Sequence[RunFolder]) -> bool:
        return any(map(is_running, self.studies)) or any(run.status() == "running" for run in runs)

    @property
    def studies(self) -> list[Path]:
        return [found for name in self.names if (found := study_of(name, self.root)) is not None]

    def runs(self) -> list[RunFolder]:
        """Return the runs of the page; none of a study that has not brought one to its end yet."""
        try:
            return [run for group in groups(self.names, self.root, self.each) for run in group.runs]
        except DlxError:
            if not any(map(is_running, self.studies)):
                raise
            return []

    def state(self) -> object:
        """Return what changes when something is recorded; None where there is no run yet."""
        files = [run.dir / RECORDS for run in self.runs()]
        found = [*files, *(study / JOURNAL for study in self.studies)]
        return tuple((str(one), one.stat().st_size) for one in found if one.exists()) if files else None

    def wait(self, seconds: float) -> None:
        """Wait so long, or until nothing runs of what there is now."""
        end, runs = time.monotonic() + seconds, self.runs()
        while (left := end - time.monotonic()) > 0 and self.runs_now(runs):
            time.sleep(min(LOOK, left))
