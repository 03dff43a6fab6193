"""Forecast and fact of the time of a run: `time.json` in its folder."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..errors import RunError
from ..runs.folder import TIME, RunFolder
from ..runs.records import RunRecord
from ..training.pace import Pace, TimeForecast


class RunTime:
    """The seconds of a run, or of a stage of it, in all processes that it took, beside those that were forecast.

    Nothing is written of a training that ends before it is forecast: it took about a second.
    """

    def __init__(self, folder: RunFolder, stage: str, records: Iterable[RunRecord]) -> None:
        """`records` are those of the run up to now."""
        self.folder, self.stage = folder, stage
        self.before, self.processes = seconds_of(records)

    def write_forecast(self, forecast: TimeForecast) -> None:
        """Write a forecast, unless the run has one of its first process."""
        known = self._known()
        if "forecast" not in known:
            self._write(known | {"forecast": forecast.as_json()})

    def write_fact(self, seconds: float, pace: Pace) -> None:
        """Write what this process took, `seconds`, with those before, where there is a forecast of it."""
        known = self._known()
        if "forecast" not in known:
            return
        by = {"steps": pace.steps_seconds(seconds), **pace.spent}
        last = {name: round(value, 3) for name, value in by.items()}
        fact = {"seconds": round(self.before + seconds, 3), "last": last, "processes": self.processes + 1}
        self._write(known | {"fact": fact})

    def _known(self) -> dict[str, Any]:
        whole = self.folder.read_json(TIME)
        found = whole.get("stages", {}).get(self.stage, {}) if self.stage else whole
        return found if isinstance(found, dict) else {}

    def _write(self, mine: dict[str, Any]) -> None:
        """Write it; a full disk, which whatever is written next tells of, loses nothing else."""
        whole = mine
        if self.stage:
            stages = {**self.folder.read_json(TIME).get("stages", {}), self.stage: mine}
            whole = {"stages": stages}
            for key in ("forecast", "fact"):
                if all(key in one for one in stages.values()):
                    whole[key] = {"seconds": round(sum(one[key]["seconds"] for one in stages.values()), 3)}
        with suppress(RunError):
            self.folder.write_json(TIME, whole)


def seconds_of(records: Iterable[RunRecord]) -> tuple[float, int]:
    """Return the seconds of the processes that a run, or its present stage, has had, and their number.

    One that was killed has no end record, and counts up to its last one.
    """
    done, latest, processes = 0.0, 0.0, 0
    begun: float | None = None
    for record in records:
        at = float(record["time"])
        if record["record"] == "start":
            done += latest - begun if begun is not None else 0.0
            begun, processes = at, processes + 1
        elif record["record"] == "stage":
            done, begun, processes = 0.0, at, 0
        elif record["record"] == "end":
            done, begun = done + (at - begun if begun is not None else 0.0), None
        latest = at
    return done + (latest - begun if begun is not None else 0.0), processes
