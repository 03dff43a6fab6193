"""Numbers of a layer or an objective that move over a training: `{linear: {start: 0, end: 0.5}}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from ..registry import Strict
from .base import SCHEDULES, Schedule, Timeline

M = TypeVar("M", bound=BaseModel)
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
        raise ValueError(_sentence(kind, error.errors()[0])) from None
    if made.watch() is not None:
        raise ValueError(f"`{kind}` follows a metric, and a value moves by time: take another schedule")
    if made.moves_momentum:
        raise ValueError("`cycle_momentum` is for optimizers: leave it out")
    return made


def _sentence(kind: str, error: ErrorDetails) -> str:
    """Return what is wrong with the fields of a schedule, of which `error` is pydantic's account."""
    message, where = error["msg"].removeprefix("Value error, "), ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"`{kind}` has no field `{where}`"
    if error["type"] == "missing":
        return f"`{where}` of `{kind}` is missing"
    if not where:  # of the whole schedule, and often begun with its kind
        return message if message.startswith(kind) else f"{kind}: {message}"
    if message.startswith("Input should be "):
        return f"`{where}` of `{kind}` must be {message.removeprefix('Input should be ')}, not {error['input']}"
    return f"`{where}` of `{kind}`: {message}"


Probability = Annotated[float, Field(ge=0, le=1), Moves()]
Weight = Annotated[float, Field(ge=0), Moves()]
Positive = Annotated[float, Field(gt=0), Moves()]


def moving_fields(declared: BaseModel) -> dict[str, ValueOverTime]:
    """Return the fields of a layer or an objective that move, by name; `sparsity.kl` within another field."""
    found = {}
    for name in type(declared).model_fields:
        value = getattr(declared, name)
        if isinstance(value, ValueOverTime):
            found[name] = value
        elif isinstance(value, Strict):
            found |= {f"{name}.{inner}": one for inner, one in moving_fields(value).items()}
    return found


def with_values(declared: M, values: Mapping[str, Any]) -> M:
    """Return a copy with these in place of fields, by the names that `moving_fields` gives."""
    changed: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    within: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        outer, dot, inner = name.partition(".")
        if dot:
            within.setdefault(outer, {})[inner] = value
    changed |= {name: with_values(getattr(declared, name), inner) for name, inner in within.items()}
    return declared.model_copy(update=changed)


def at_start(value: Any) -> Any:
    """Return a number as it is, and of one that moves its start."""
    return value.start if isinstance(value, ValueOverTime) else value


def may_count(value: Any) -> bool:
    """Whether a factor is ever another number than 0; a tensor is one that moves."""
    return not isinstance(value, int | float) or value != 0
