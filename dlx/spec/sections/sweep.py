"""The section `sweep`: the search space, how it is searched, and constraints."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from ...errors import Mark, Problem, SpecError, did_you_mean
from ...registry import Choice, Strict
from ..strategies import SAMPLERS, SCHEDULERS, Sampler, Scheduler
from ..syntax.read import Node
from ..validation import shown
from .stopping import MaxTime
from .sweep_values import Dimension, dimension_of_list, parse_dimension
from .train import MOST_SEEDS

WAYS = "Write a list of values, `choice(1, 2)`, `range(1, 9)` (1 to 8), `interval(0, 1)` or `glob(*)`."


class Sweep(Strict):
    """The search space of a study, how it is searched, and the constraints of its trials."""

    @classmethod
    def field_hint(cls, name: str) -> str:
        varies = "." in name or name in ("lr", "seed_list")
        return (
            f"Keys that vary stand under `space`: `space: {{{name}: [...]}}`." if varies else super().field_hint(name)
        )

    space: dict[str, Any] = Field(
        {},
        description="what varies, by key: a list of values, or choice(...), range(...), interval(...), glob(...)"
        "; `{values: ..., when: {KEY: VALUE}}` only for these values of another key",
    )
    sampler: Annotated[Sampler | None, Choice(SAMPLERS)] = Field(
        None, description="how points are picked; else the whole grid where `trials` is not given and there is one"
    )
    trials: PositiveInt | None = Field(None, description="how many points to try; else the grid, or 64")
    metric: str | list[str] | None = Field(
        None, description="valid/NAME, or several of them; else valid/error, or valid/loss where there is none"
    )
    constraints: str | list[str] = Field(
        [], description="what a network must keep to before it is trained: params <= 1_000_000"
    )
    scheduler: Annotated[Scheduler | None, Choice(SCHEDULERS)] = Field(
        None, description="who ends early; nobody, where it is left out"
    )
    seeds: PositiveInt = Field(1, le=MOST_SEEDS, description="trainings of each point, with seeds from train.seed on")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the points that are drawn")
    generation: PositiveInt = Field(
        8, le=10_000, description="points that are picked at once, from the results before them"
    )
    until_alike: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="end where so many of the best cannot be told apart, and two generations brought nothing better",
    )
    budget: MaxTime | None = Field(
        None, description="a time such as 90s, 30m or 2h after which the sweep stops, to be continued"
    )

    @property
    def texts(self) -> list[str]:
        """The constraints as a list."""
        return self.constraints if isinstance(self.constraints, list) else [self.constraints]


def dimensions(section: Node, spec: Path, problems: list[Problem]) -> list[Dimension]:
    """Parse the dimensions of `sweep.space`, each with its mark; mistakes go to `problems`."""
    space = section.at("space")
    if space is None or not space.is_map:
        return []
    found = []
    for key, node in space.map.items():
        try:
            found.append(_dimension(key, node, spec))
        except SpecError as error:
            problems += error.problems
    return found


def _dimension(key: str, node: Node, spec: Path) -> Dimension:
    if node.is_map and ("when" in node.map or "values" in node.map):
        return _conditional(key, node, spec)
    if node.is_list:
        return dimension_of_list(key, node.plain(), node.mark)
    dimension = parse_dimension(f"{key}={node.value}", spec, node.mark) if isinstance(node.value, str) else None
    if dimension is None:
        hint = _span(node.value) or WAYS
        if node.is_map:
            hint += " A condition is `{values: [1, 2], when: {KEY: VALUE}}`."
        message = f"`{key}` does not vary: it is {shown(node.plain())}"
        raise SpecError(Problem(message, hint, node.mark, f"sweep.space.{key}"))
    return dimension


def _span(text: Any) -> str:
    """Return the hint about two numbers that are written as a span, `16-64`; empty where they are none."""
    found = (
        re.fullmatch(r"\s*([\d_.eE]+)\s*(?:-|\.\.+|:|to)\s*([\d_.eE]+)\s*", text) if isinstance(text, str) else None
    )
    if found is None:
        return ""
    try:
        first, last = (int(number) for number in found.groups())
    except ValueError:
        return f"All numbers between two are `interval({found[1]}, {found[2]})`."
    return f"Whole numbers with {last} among them are `range({first}, {last + 1})`: the end of a range is not in it."


def _conditional(key: str, node: Node, spec: Path) -> Dimension:
    """Return the dimension of `{values: ..., when: {KEY: VALUE or [VALUES]}}`."""

    def fail(message: str, hint: str, mark: Mark) -> SpecError:
        return SpecError(Problem(message, hint, mark, f"sweep.space.{key}"))

    values, when = node.at("values"), node.at("when")
    if strange := [name for name in node.map if name not in ("values", "when")]:
        hint = did_you_mean(strange[0], ("values", "when"))
        raise fail(f"`{key}` has `{strange[0]}` beside `when`, and takes `values` and `when`", hint, node.mark)
    if values is None or (values.is_map):
        raise fail(
            f"`{key}` has a `when` and no `values`", "Write `{values: [1, 2], when: {KEY: VALUE}}`.", node.mark
        )
    if when is None:
        return replace(_dimension(key, values, spec), mark=node.mark)
    if not when.is_map or not when.map:
        hint = "Write `when: {KEY: VALUE}` or `when: {KEY: [VALUE, VALUE]}`."
        raise fail(f"`when` of `{key}` names no key that varies", hint, node.mark)
    conditions = {
        other.lstrip("+").replace("/", "."): tuple(one.plain()) if one.is_list else (one.plain(),)
        for other, one in when.map.items()
    }
    return replace(_dimension(key, values, spec), when=conditions, mark=node.mark)


def space_problems(section: Node, spec: Path) -> list[Problem]:
    """Return the mistakes of `sweep.space`."""
    problems: list[Problem] = []
    dimensions(section, spec, problems)
    return problems
