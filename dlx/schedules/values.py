"""Numbers of a layer or an objective that move over a training: `{linear: {start: 0, end: 0.5}}`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from ..registry import Declared
from .base import SCHEDULES, Schedule, Timeline

ENDS = ("start", "end")


@dataclass(frozen=True)
class ValueOverTime:
    """A value that goes from `start`, where the factor of its schedule is 1, to `end`, where that is 0."""

    start: float
    end: float
    schedule: Schedule

    def at(self, step: int, timeline: Timeline) -> float:
        """Return the value in the update number `step`, which counts from 0."""
        return self.end + (self.start - self.end) * self.schedule.at(step, timeline)

    def last(self, timeline: Timeline) -> float:
        """Return the value in the last update of a training."""
        return self.at(max(0, timeline.steps - 1), timeline)

    def as_json(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "schedule": self.schedule.kind}

    def __str__(self) -> str:
        return f"{self.start:g} to {self.end:g}, {self.schedule.kind}"


@dataclass(frozen=True)
class Moves:
    """Marks a field that is a number or a value over time: `Annotated[float, Field(ge=0), Moves()]`.

    The bounds stand before the mark, and hold for both ends.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self.build, handler(source))

    def build(self, value: Any, number: Callable[[Any], float]) -> Any:
        """Return a number as it is, and build the value over time that a mapping describes."""
        if isinstance(value, ValueOverTime):
            return value
        if not isinstance(value, dict):
            return number(value)
        kind, options = next(iter(value.items())) if len(value) == 1 else ("", None)
        if kind not in SCHEDULES or not isinstance(options, dict):
            raise ValueError(
                "a value that moves is `{linear: {start: 0, end: 0.5}}`, with a kind of `train.schedule`"
            )
        start, end = (_end(options, name, number) for name in ENDS)
        return ValueOverTime(start, end, _schedule(kind, options))


def _end(options: dict[str, Any], name: str, number: Callable[[Any], float]) -> float:
    if name not in options:
        raise ValueError(f"a value that moves has `start` and `end`: `{name}` is missing")
    try:
        return number(options[name])
    except ValidationError as error:
        wanted = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise ValueError(f"`{name}` must be {wanted}, not {options[name]}") from None


def _schedule(kind: str, options: dict[str, Any]) -> Schedule:
    rest = {name: value for name, value in options.items() if name not in ENDS}
    if factors := [name for name in rest if name in ("start_factor", "end_factor")]:
        message = f"a value that moves goes from `start` to `end`, and `{factors[0]}` is for rates: leave it out"
        raise ValueError(message)
    try:
        made = SCHEDULES[kind].model_validate(rest)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            raise ValueError(f"`{kind}` has no field `{first['loc'][0]}`") from None
        about = f"`{first['loc'][0]}`: " if first["loc"] else ""
        raise ValueError(f"{kind}: {about}{first['msg'].removeprefix('Value error, ')}") from None
    if made.watch() is not None:
        raise ValueError(f"`{kind}` follows a metric, and a value moves by time: take another schedule")
    if made.moves_momentum:
        raise ValueError("`cycle_momentum` is for optimizers: leave it out")
    return made


Probability = Annotated[float, Field(ge=0, le=1), Moves()]
Weight = Annotated[float, Field(ge=0), Moves()]
Positive = Annotated[float, Field(gt=0), Moves()]


def moving_fields(declared: Declared) -> dict[str, ValueOverTime]:
    """Return the fields of a layer or an objective that move, by name."""
    values = {name: getattr(declared, name) for name in type(declared).model_fields}
    return {name: value for name, value in values.items() if isinstance(value, ValueOverTime)}


def may_count(value: Any) -> bool:
    """Whether a factor is ever another number than 0; a tensor is one that moves."""
    return not isinstance(value, int | float) or value != 0
