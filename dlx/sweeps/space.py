"""Search space of a study: its dimensions, the points of a grid, and points as overrides of the spec."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any

from ..errors import Problem, SpecError, did_you_mean
from ..graph import trace_all
from ..registry import Declared
from ..spec import Experiment
from ..spec.overrides import content_of, mark_of, place_of, put
from ..spec.sections.kinds import choice_at
from ..spec.sections.sweep import dimensions
from ..spec.sections.sweep_values import Choices, Dimension, NumberRange, fingerprint, parse_dimension
from ..spec.syntax.nodes import Node
from .trial import Point

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FIXED_SECTIONS = ("sweep", "defaults", "plugins", "dlx", "name")
"""Sections that are the same for all trials."""
MAX_TRIED = 20
"""Values of a choice that are tried to see whether the spec accepts one."""
Conditions = Mapping[str, frozenset[str]]
"""By the key of a parent dimension, the values of it, as fingerprints, for which another dimension is active."""


def name_of(point: Point) -> str:
    """Return a text that is equal for equal points."""
    return fingerprint(point)


@dataclass(frozen=True)
class Space:
    """Dimensions of a study, parents first.

    A dimension below a choice, such as `train.optimizer.sgd.momentum` below `train.optimizer`, is conditional: it is
    part of a point only where the point's choice has a place for it. So is one with a `when`, which names values of
    other dimensions: ConfigSpace's conditions (`InCondition`).
    """

    dimensions: tuple[Dimension, ...]
    conditions: Mapping[str, Conditions] = field(default_factory=dict)
    """Conditions of each dimension that has a parent."""

    @staticmethod
    def of(experiment: Experiment, changes: Sequence[str] = ()) -> tuple[Space, list[str]]:
        """Return the space of a spec with these overrides, and those of the overrides that set a single value.

        A sweep on the command line replaces the spec's own of that key, and a plain value ends it. Raises SpecError
        with all mistakes.
        """
        varying, plain, problems = _split(experiment, changes)
        try:
            plain, base = _base(experiment, plain, varying)
        except SpecError as error:
            raise SpecError(*problems, *error.problems) from error
        section = base.written.at("sweep")
        listed = dimensions(section, base.path, problems) if section is not None else []
        fixed = {re.split(r"=", text.lstrip("+~"), maxsplit=1)[0].replace("/", ".") for text in plain}
        places = _Places(base.written.copy())
        problems += places.duplicates(listed)
        ended = {places.of(key) for key in fixed}
        joined = {p: d for d in listed if (p := places.of(d.key)) not in ended} | {
            places.of(d.key): d for d in varying
        }
        problems += places.duplicates(varying)
        problems += _condition_problems(list(joined.values()))
        ordered = _parents_first(joined.values())
        if not ordered and not problems:
            hint = "Write `train.optimizer.adam.lr=0.1,0.01`, or `sweep: {space: {KEY: [1, 2]}}` in the spec."
            problems.append(Problem("nothing varies", hint, base.place("sweep"), "sweep.space"))
        conditions = _Check(base, ordered, problems).conditions()
        if problems:
            raise SpecError(*problems)
        return Space(tuple(ordered), conditions), plain

    @cached_property
    def by_key(self) -> dict[str, Dimension]:
        return {dimension.key: dimension for dimension in self.dimensions}

    @property
    def size(self) -> int | None:
        """Number of points; None where it is infinite."""
        sizes = {d.key: d.size for d in self.dimensions}
        if None in sizes.values():
            return None
        deciding = [d for d in self.dimensions if any(d.key in above for above in self.conditions.values())]
        combined = (self.active(dict(zip([d.key for d in deciding], v, strict=True))) for v in product(*deciding))
        distinct = {name_of(point): point for point in combined}.values()
        free = [d for d in self.dimensions if d not in deciding]
        return sum(prod(sizes[d.key] or 1 for d in free if self._is_active(d.key, point)) for point in distinct)

    def grid(self) -> Iterator[Point]:
        """Yield every point, the last dimension moving first; of one without steps a single value, its middle."""
        values = [d if d.size is not None else [d.at(0.5)] for d in self.dimensions]
        seen: set[str] = set()
        for combination in _combinations(values):
            point = self.active(dict(zip(self.by_key, combination, strict=True)))
            if self.conditions:
                name = name_of(point)
                if name in seen:
                    continue
                seen.add(name)
            yield point

    def active(self, point: Point) -> Point:
        """Return the point without inactive keys."""
        point_so_far: Point = {}
        for key in self.by_key:
            if key in point and self._is_active(key, point_so_far):
                point_so_far[key] = point[key]
        return point_so_far

    def filled(self, point: Point) -> Point:
        """Return the point with a value for each dimension that has none: its middle."""
        return {d.key: point[d.key] if d.key in point else d.at(0.5) for d in self.dimensions}

    def normalized(self, point: Point) -> Point:
        """Return the point with a value for each active dimension, and nothing else."""
        return self.active(self.filled(point))

    def holds(self, point: Point) -> bool:
        """Whether this is a point of the space."""
        return (
            all(k in self.by_key and self.by_key[k].holds(v) for k, v in point.items())
            and self.normalized(point) == point
        )

    def draw(self, rng: Random) -> Point:
        """Sample a point."""
        return self.active({d.key: d.at(rng.random()) for d in self.dimensions})

    def neighbours(self, point: Point, step: float = 0.1) -> list[Point]:
        """Return points that differ in one dimension: by one value, by a fraction `step` of an interval, or in
        any other choice.
        """
        near = ((d.key, value) for d in self.dimensions if d.key in point for value in d.near(point[d.key], step))
        return [self.normalized(point | {key: value}) for key, value in near]

    def overrides(self, point: Point) -> list[str]:
        """Return the point as overrides of the spec, parents first."""
        return [f"{d.sign}{d.key}={hydra_text(point[d.key])}" for d in self.dimensions if d.key in point]

    def as_json(self) -> dict[str, Any]:
        """Return what varies, for the identity of a study."""
        return {d.key: d.as_json() for d in self.dimensions}

    def optuna(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions: choices by their index."""
        return {d.key: distribution(d) for d in self.dimensions}

    def _is_active(self, key: str, point: Point) -> bool:
        above = self.conditions.get(key, {})
        return all(k in point and fingerprint(point[k]) in values for k, values in above.items())


def _combinations(values: Sequence[Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the product of all values without building it: a range may be too long for `itertools.product`."""
    if not values:
        yield ()
        return
    for first in values[0]:
        for others in _combinations(values[1:]):
            yield (first, *others)


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna's distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        last = dimension.size - 1
        return IntDistribution(0, last) if dimension.ordered else CategoricalDistribution(range(last + 1))
    if isinstance(dimension.step, int):
        return IntDistribution(int(dimension.low), int(dimension.high), dimension.log, dimension.step)
    return FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)


def hydra_text(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    from ..spec.sections.sweep_values import quoted

    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(hydra_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{hydra_text(v)}' for key, v in value.items())}}}"
    return quoted(value) if isinstance(value, str) else repr(value)


def _parents_first(unordered: Iterable[Dimension]) -> list[Dimension]:
    """Return the dimensions in their order, but each behind its parents, those above it and those of its `when`."""
    known = list(unordered)
    ordered: list[Dimension] = []

    def put_behind_parents(dimension: Dimension, below: tuple[str, ...]) -> None:
        above = sorted((d for d in known if dimension.key.startswith(f"{d.key}.")), key=lambda d: len(d.key))
        for parent in (*above, *(d for d in known if d.key in dimension.when)):
            if parent.key not in below:  # a circle is a problem, found elsewhere
                put_behind_parents(parent, (*below, dimension.key))
        if dimension not in ordered:
            ordered.append(dimension)

    for dimension in known:
        put_behind_parents(dimension, (dimension.key,))
    return ordered


def _condition_problems(known: Sequence[Dimension]) -> Iterator[Problem]:
    """Yield a problem for each `when` that names a key or value that does not vary, or that comes back to itself."""
    by_key = {one.key: one for one in known}
    for dimension in known:
        for key, values in dimension.when.items():
            path, parent = f"sweep.space.{dimension.key}.when", by_key.get(key)
            if parent is None:
                hint = did_you_mean(key, by_key, "the keys that vary")
                yield Problem(
                    f"`when` of `{dimension.key}` names `{key}`, which does not vary", hint, dimension.mark, path
                )
            elif parent.size is None:
                message = f"`when` of `{dimension.key}` names values of `{key}`, which is an interval without steps"
                yield Problem(message, "Let it name a choice.", dimension.mark, path)
            elif strange := [value for value in values if not parent.holds(value)]:
                shown = ", ".join(hydra_text(value) for value in list(parent)[:MAX_TRIED])
                message = f"`when` of `{dimension.key}` wants `{key}` to be {hydra_text(strange[0])}"
                yield Problem(f"{message}, which it is never", f"It varies over {shown}.", dimension.mark, path)
        if dimension.key in _conditions_above(dimension, by_key):
            message = f"`when` of `{dimension.key}` comes back to itself"
            yield Problem(message, "Leave out one of the conditions.", dimension.mark, f"sweep.space.{dimension.key}")


def _conditions_above(dimension: Dimension, by_key: Mapping[str, Dimension]) -> set[str]:
    """Return the keys that a dimension depends on, by any number of conditions."""
    found: set[str] = set()
    todo = list(dimension.when)
    while todo:
        key = todo.pop()
        if key not in found and key in by_key:
            found.add(key)
            todo += [*by_key[key].when, *(other for other in by_key if key.startswith(f"{other}."))]
    return found


def _split(experiment: Experiment, changes: Sequence[str]) -> tuple[list[Dimension], list[str], list[Problem]]:
    """Return the dimensions among overrides, the plain overrides, and the problems."""
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


def _base(experiment: Experiment, plain: Sequence[str], varying: Sequence[Dimension]) -> tuple[list[str], Experiment]:
    """Return the spec with these overrides, and the overrides; where they are whole only with a value of what varies,
    as `folds` is with `fold`, with the first values too.
    """
    base = experiment.changed(plain)
    if base.problems and varying:
        first = [f"++{d.key}={hydra_text(_values(d)[0])}" for d in varying]
        whole = experiment.changed([*plain, *first])
        if len(whole.problems) < len(base.problems):
            return [*plain, *first], whole
    return list(plain), base


class _Places:
    """Places of keys: `network.layers.1` and `network.layers.relu_1` may be one place."""

    def __init__(self, root: Node) -> None:
        self.root = root

    def of(self, key: str) -> object:
        """Return the place, or the key itself where only a value of another dimension creates it."""
        return place_of(self.root, key) or key

    def duplicates(self, ordered: Sequence[Dimension]) -> Iterator[Problem]:
        """Yield a problem for each dimension that sets the place of an earlier one."""
        first: dict[object, Dimension] = {}
        for dimension in ordered:
            other = first.setdefault(self.of(dimension.key), dimension)
            if other is not dimension:
                message = f"`{dimension.key}` and `{other.key}` are one place, and vary both"
                yield Problem(message, "Drop one of the two.", dimension.mark, dimension.key)


class _Check:
    """Check of each dimension against the spec, by setting its values."""

    def __init__(self, base: Experiment, ordered: Sequence[Dimension], problems: list[Problem]) -> None:
        self.base, self.ordered, self.problems = base, ordered, problems
        self.known = set(_problems_of(base))

    def conditions(self) -> dict[str, Conditions]:
        """Return the conditions of dimensions with parents; a dimension without any place is a problem."""
        return {d.key: conditions for d in self.ordered if self.may_vary(d) and (conditions := self.places(d))}

    def may_vary(self, dimension: Dimension) -> bool:
        section, hint = dimension.key.split(".")[0], ""
        if section not in FIXED_SECTIONS and dimension.key != "train.seeds":
            return True
        message = f"`{section}` is the same for all trials, and cannot vary"
        if dimension.key == "train.seeds":
            message = "`train.seeds` says how many trainings each trial is the mean of, and cannot vary"
            hint = "Write `sweep: {seeds: 3}`, or let `train.seed` vary."
        self.problems.append(Problem(message, hint, dimension.mark, dimension.key))
        return False

    def places(self, dimension: Dimension) -> Conditions:
        above = [d for d in self.ordered if dimension.key.startswith(f"{d.key}.")]
        conditions = {key: frozenset(map(fingerprint, values)) for key, values in dimension.when.items()}
        if not above:
            by_key = {d.key: d for d in self.ordered}
            before = [(by_key[key], values[0]) for key, values in dimension.when.items() if key in by_key]
            self.problems += self.problems_at(before, dimension) or self.odd_words(before, dimension)
            return conditions
        for one in above:
            found = {
                fingerprint(value): self.problems_at([(one, value)], dimension)
                or self.other_kind(one, value, dimension)
                for value in _values(one)
            }
            fitting = frozenset(name for name, problems in found.items() if not problems)
            conditions[one.key] = fitting & conditions.get(one.key, fitting)
            if not conditions[one.key]:
                self.problems += next(iter(found.values()), [])
        return conditions

    def problems_at(self, before: Sequence[tuple[Dimension, Any]], dimension: Dimension) -> list[Problem]:
        """Return the problems of a dimension at its own place; none if one of its values is accepted."""
        first: list[Problem] = []
        for value in _probe_values(dimension):
            found = self.problems_with([*before, (dimension, value)], dimension)
            if not found:
                return []
            first = first or found
        return first

    def odd_words(self, before: Sequence[tuple[Dimension, Any]], dimension: Dimension) -> list[Problem]:
        """Return the problems of words among numbers, `[fast, 0.1]`: a mistake, and no point that is refused."""
        values = dimension.values[:MAX_TRIED] if isinstance(dimension, Choices) else ()
        words = [value for value in values if isinstance(value, str)]
        if len(words) == len(values):
            return []
        return [problem for word in words for problem in self.problems_with([*before, (dimension, word)], dimension)]

    def other_kind(self, parent: Dimension, value: Any, dimension: Dimension) -> list[Problem]:
        """Return a problem where a key names a kind, and with this value of its parent another kind is there by
        default: the key would put its own in place of that.
        """
        root = self.base.written.copy()
        put(root, parent.key, content_of(parent.key, value, self.base.path, parent.mark), parent.mark, adding=True)
        experiment, words = self.base.with_root(root), dimension.key.split(".")
        for depth in range(parent.key.count(".") + 1, len(words)):
            current = _declared_at(experiment, words[:depth])
            if choice_at(tuple(words[:depth])) is not None and current is not None and current.kind != words[depth]:
                above = ".".join(words[:depth])
                return [Problem(f"`{above}` is {current.kind} here", "", dimension.mark, dimension.key)]
        return []

    def problems_with(self, settings: Sequence[tuple[Dimension, Any]], dimension: Dimension) -> list[Problem]:
        root = self.base.written.copy()
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


def _declared_at(experiment: Experiment, keys: Sequence[str]) -> Declared | None:
    """Return the declaration at a key, defaults included, such as the loss at `objective.classification.loss`."""
    found: Any = experiment
    for key in keys:
        if not (isinstance(found, Declared) and key == found.kind):
            found = getattr(found, key, None)
    return found if isinstance(found, Declared) else None


def _values(dimension: Dimension) -> Sequence[Any]:
    """Return the values under which a child may be active; a number has no children, so one value does."""
    return dimension.values if isinstance(dimension, Choices) else [dimension.low]


def _probe_values(dimension: Dimension) -> Sequence[Any]:
    """Return some of the values."""
    if isinstance(dimension, Choices):
        return dimension.values[:MAX_TRIED]
    return [dimension.low, dimension.high, dimension.at(0.5)]


def _problems_of(experiment: Experiment) -> tuple[Problem, ...]:
    try:
        trace_all(experiment)
    except SpecError as error:
        return error.problems
    return ()


__all__ = ["Choices", "Dimension", "NumberRange", "Point", "Space", "hydra_text", "name_of"]
