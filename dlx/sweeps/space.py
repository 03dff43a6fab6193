"""What varies over a study: its dimensions, all points of a grid, and each point as overrides of the spec."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any

from ..errors import Problem, SpecError
from ..graph import trace_all
from ..spec import Experiment
from ..spec.overrides import content_of, mark_of, place_of, put
from ..spec.sections.sweep import dimensions
from ..spec.sections.sweep_values import Choices, Dimension, Numbers, fingerprint, parse_dimension
from ..spec.syntax.nodes import Node
from .trial import Point

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NEVER = ("sweep", "defaults", "plugins", "dlx", "name")
"""Sections that are the same for all trials."""
MOST_TRIED = 20
"""Values of a choice that are set to see whether one will do."""
Under = Mapping[str, frozenset[str]]
"""By the key of a dimension above: the values of it, as fingerprints, under which another dimension has a place."""


def name_of(point: Point) -> str:
    """A point as text that is the same for the same point."""
    return fingerprint(point)


@dataclass(frozen=True)
class Space:
    """The dimensions of a study, those above others first.

    A dimension below a choice, such as `train.optimizer.sgd.momentum` below `train.optimizer`, is part of a point
    only where the point's choice has a place for it.
    """

    dimensions: tuple[Dimension, ...]
    under: Mapping[str, Under] = field(default_factory=dict)
    """For each dimension below others, where it has a place."""

    @staticmethod
    def of(experiment: Experiment, changes: Sequence[str] = ()) -> tuple[Space, list[str]]:
        """The space of a spec with these overrides, and those of them that name a single value.

        A sweep on the command line takes the place of the spec's own of that key, and a plain value ends it.
        SpecError with all that is wrong.
        """
        given, plain, problems = _split(experiment, changes)
        try:
            base = experiment.changed(plain)
        except SpecError as error:
            raise SpecError(*problems, *error.problems) from error
        section = base.root.at("sweep")
        listed = dimensions(section, base.path, problems) if section is not None else []
        fixed = {re.split(r"=", text.lstrip("+~"), maxsplit=1)[0].replace("/", ".") for text in plain}
        places = _Places(base.root.copy())
        problems += places.named_twice(listed)
        ended = {places.of(key) for key in fixed}
        joined = {p: d for d in listed if (p := places.of(d.key)) not in ended} | {places.of(d.key): d for d in given}
        ordered = _those_above_first(joined.values())
        problems += places.named_twice(given)
        if not ordered and not problems:
            hint = "Write `train.optimizer.adam.lr=0.1,0.01`, or `sweep: {space: {KEY: [1, 2]}}` in the spec."
            problems.append(Problem("nothing varies", hint, base.place("sweep"), "sweep.space"))
        under = _Check(base, ordered, problems).under()
        if problems:
            raise SpecError(*problems)
        return Space(tuple(ordered), under), plain

    @cached_property
    def by_key(self) -> dict[str, Dimension]:
        return {dimension.key: dimension for dimension in self.dimensions}

    @property
    def size(self) -> int | None:
        """How many points there are; None where there is no end to them."""
        sizes = {d.key: d.size for d in self.dimensions}
        if None in sizes.values():
            return None
        deciding = [d for d in self.dimensions if any(d.key in above for above in self.under.values())]
        combined = (self.settled(dict(zip([d.key for d in deciding], v, strict=True))) for v in product(*deciding))
        apart = {name_of(point): point for point in combined}.values()
        free = [d for d in self.dimensions if d not in deciding]
        return sum(prod(sizes[d.key] or 1 for d in free if self._has_place(d.key, point)) for point in apart)

    def grid(self) -> Iterator[Point]:
        """Every point, the last dimension moving first; of one without steps a single value, its middle."""
        values = [d if d.size is not None else [d.at(0.5)] for d in self.dimensions]
        seen: set[str] = set()
        for combination in _combinations(values):
            point = self.settled(dict(zip(self.by_key, combination, strict=True)))
            if self.under:
                name = name_of(point)
                if name in seen:
                    continue
                seen.add(name)
            yield point

    def settled(self, point: Point) -> Point:
        """The point without what has no place in it."""
        kept: Point = {}
        for key in self.by_key:
            if key in point and self._has_place(key, kept):
                kept[key] = point[key]
        return kept

    def filled(self, point: Point) -> Point:
        """The point with a value for each dimension that has none: its middle."""
        return {d.key: point[d.key] if d.key in point else d.at(0.5) for d in self.dimensions}

    def whole(self, point: Point) -> Point:
        """The point with all that has a place in it, and nothing else."""
        return self.settled(self.filled(point))

    def holds(self, point: Point) -> bool:
        """Whether this is a point of the space."""
        return (
            all(k in self.by_key and self.by_key[k].holds(v) for k, v in point.items()) and self.whole(point) == point
        )

    def draw(self, chance: Random) -> Point:
        """A point by chance."""
        return self.settled({d.key: d.at(chance.random()) for d in self.dimensions})

    def neighbours(self, point: Point, reach: float = 0.1) -> list[Point]:
        """Points that differ in one dimension: by a step, by `reach` of an interval, or in any other word."""
        near = ((d.key, value) for d in self.dimensions if d.key in point for value in d.near(point[d.key], reach))
        return [self.whole(point | {key: value}) for key, value in near]

    def overrides(self, point: Point) -> list[str]:
        """The point as overrides of the spec, in an order in which they can be set."""
        return [f"{d.sign}{d.key}={written(point[d.key])}" for d in self.dimensions if d.key in point]

    def as_json(self) -> dict[str, Any]:
        """What varies, for the identity of a study."""
        return {d.key: d.as_json() for d in self.dimensions}

    def optuna(self) -> dict[str, BaseDistribution]:
        """The same for Optuna: choices by their number."""
        return {d.key: distribution(d) for d in self.dimensions}

    def _has_place(self, key: str, point: Point) -> bool:
        above = self.under.get(key, {})
        return all(k in point and fingerprint(point[k]) in values for k, values in above.items())


def _combinations(values: Sequence[Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    """The product of all values, one after another: a range has too many of them for a list."""
    if not values:
        yield ()
        return
    for first in values[0]:
        for others in _combinations(values[1:]):
            yield (first, *others)


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        last = dimension.size - 1
        return IntDistribution(0, last) if dimension.ordered else CategoricalDistribution(range(last + 1))
    if isinstance(dimension.step, int):
        return IntDistribution(int(dimension.low), int(dimension.high), dimension.log, dimension.step)
    return FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)


def written(value: Any) -> str:
    """A value as Hydra's grammar has it."""
    from ..spec.sections.sweep_values import quoted

    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{written(v)}' for key, v in value.items())}}}"
    return quoted(value) if isinstance(value, str) else repr(value)


def _those_above_first(given: Iterable[Dimension]) -> list[Dimension]:
    """The dimensions as they were given, but each after those that it lies below."""
    known = list(given)
    ordered: list[Dimension] = []
    for dimension in known:
        above = sorted((d for d in known if dimension.key.startswith(f"{d.key}.")), key=lambda d: len(d.key))
        ordered += [d for d in (*above, dimension) if d not in ordered]
    return ordered


def _split(experiment: Experiment, changes: Sequence[str]) -> tuple[list[Dimension], list[str], list[Problem]]:
    """The dimensions among overrides, the plain ones, and what is wrong."""
    found: dict[str, Dimension] = {}
    plain: list[str] = []
    problems: list[Problem] = []
    for text in changes:
        try:
            dimension = parse_dimension(text, experiment.path)
        except SpecError as error:
            problems += error.problems
            continue
        if dimension is None:
            plain.append(text)
        elif dimension.key in found:
            message = f"`{dimension.key}` varies in two overrides"
            problems.append(Problem(message, "Put its values into one.", mark_of(text), dimension.key))
        else:
            found[dimension.key] = dimension
    return list(found.values()), plain, problems


class _Places:
    """Places of keys: `network.layers.1` and `network.layers.relu_1` may be one place."""

    def __init__(self, root: Node) -> None:
        self.root = root

    def of(self, key: str) -> object:
        """The place, or the key itself where only a value of another dimension makes one."""
        return place_of(self.root, key) or key

    def named_twice(self, ordered: Sequence[Dimension]) -> Iterator[Problem]:
        """Dimensions that would set what an earlier one has set."""
        first: dict[object, Dimension] = {}
        for dimension in ordered:
            other = first.setdefault(self.of(dimension.key), dimension)
            if other is not dimension:
                message = f"`{dimension.key}` and `{other.key}` are one place, and vary both"
                yield Problem(message, "Drop one of the two.", dimension.mark, dimension.key)


class _Check:
    """Each dimension set in the spec, to see whether the spec has a place for it."""

    def __init__(self, base: Experiment, ordered: Sequence[Dimension], problems: list[Problem]) -> None:
        self.base, self.ordered, self.problems = base, ordered, problems
        self.known = set(_problems_of(base))

    def under(self) -> dict[str, Under]:
        """Where those below others have a place; what has none anywhere is a problem."""
        return {d.key: under for d in self.ordered if self.may_vary(d) and (under := self.places(d))}

    def may_vary(self, dimension: Dimension) -> bool:
        section, hint = dimension.key.split(".")[0], ""
        if section not in NEVER and dimension.key != "train.seeds":
            return True
        message = f"`{section}` is the same for all trials, and cannot vary"
        if dimension.key == "train.seeds":
            message = "`train.seeds` says how many trainings each trial is the mean of, and cannot vary"
            hint = "Write `sweep: {seeds: 3}`, or let `train.seed` vary."
        self.problems.append(Problem(message, hint, dimension.mark, dimension.key))
        return False

    def places(self, dimension: Dimension) -> Under:
        above = [d for d in self.ordered if dimension.key.startswith(f"{d.key}.")]
        if not above:
            self.problems += self.against([], dimension)
            return {}
        under: dict[str, frozenset[str]] = {}
        for one in above:
            told = {fingerprint(value): self.against([(one, value)], dimension) for value in _all(one)}
            under[one.key] = frozenset(name for name, problems in told.items() if not problems)
            if not under[one.key]:
                self.problems += next(iter(told.values()), [])
        return under

    def against(self, before: Sequence[tuple[Dimension, Any]], dimension: Dimension) -> list[Problem]:
        """What stands against a dimension at its own place; nothing where one of its values will do."""
        told: list[Problem] = []
        for value in _tries(dimension):
            found = self.told([*before, (dimension, value)], dimension)
            if not found:
                return []
            told = told or found
        return told

    def told(self, settings: Sequence[tuple[Dimension, Any]], dimension: Dimension) -> list[Problem]:
        root = self.base.root.copy()
        try:
            for one, value in settings:
                put(root, one.key, content_of(one.key, value, self.base.path, one.mark), one.mark, bool(one.sign))
        except SpecError as error:
            return list(error.problems)
        return [
            problem
            for problem in _problems_of(self.base.with_root(root))
            if problem.mark == dimension.mark and problem not in self.known
        ]


def _all(dimension: Dimension) -> Sequence[Any]:
    """What something below a dimension may stand under: any of its values; nothing stands below a number."""
    return dimension.values if isinstance(dimension, Choices) else [dimension.low]


def _tries(dimension: Dimension) -> Sequence[Any]:
    """Some of the values."""
    if isinstance(dimension, Choices):
        return dimension.values[:MOST_TRIED]
    return [dimension.low, dimension.high, dimension.at(0.5)]


def _problems_of(experiment: Experiment) -> tuple[Problem, ...]:
    try:
        trace_all(experiment)
    except SpecError as error:
        return error.problems
    return ()


__all__ = ["Choices", "Dimension", "Numbers", "Point", "Space", "name_of", "written"]
