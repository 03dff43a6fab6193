"""Dimensions of a search space: `choice(1,2)`, `range(1,9)`, `interval(0,1)`, `glob(*)`.

Hydra's own parser reads the text. A range leaves its end out; an interval has both ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, exp, isfinite, log
from pathlib import Path
from random import Random
from typing import Any

from ...errors import NOWHERE, Mark, Problem, SpecError, did_you_mean, plural
from ...utils.exact_fractions import rational
from ..compose import search_path, specs_in
from ..hydra_grammar import SWEEP_IS_WHOLE_VALUE, plain
from ..overrides import mark_of, parse
from ..validation import shown

Number = int | float
When = Mapping[str, tuple[Any, ...]]
"""The values of other keys for which a dimension is part of a point, by key; it is always, where there are none."""
FUNCTIONS = ("choice", "range", "interval", "glob", "tag", "sort", "shuffle", "int", "float", "str", "bool")
MOST = 100_000
"""Values that a dimension may list one by one."""
DIGITS = 6
"""Significant digits of a number sampled from an interval."""


@dataclass(frozen=True)
class Choices:
    """A dimension of listed values of any type."""

    key: str
    values: tuple[Any, ...]
    sign: str = ""
    """`+` for a key that the spec does not have yet."""
    mark: Mark = field(default=NOWHERE, compare=False)
    when: When = field(default_factory=dict, hash=False)

    @property
    def size(self) -> int:
        return len(self.values)

    @property
    def ordered(self) -> bool:
        """Whether the values have an order: they are all numbers."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)

    @cached_property
    def ranks(self) -> tuple[Any, ...]:
        """The values, ascending where they have an order."""
        return tuple(sorted(self.values)) if self.ordered else self.values

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    @cached_property
    def places(self) -> dict[str, int]:
        """Index of each value in `ranks` by its fingerprint."""
        return {fingerprint(value): i for i, value in enumerate(self.ranks)}

    def index(self, value: Any) -> int:
        """Return the index of a value in `ranks`."""
        return self.places[fingerprint(value)]

    def near(self, value: Any, distance: float = 0.1) -> list[Any]:
        """Return the next smaller and larger value, or all others where they have no order."""
        at = self.index(value)
        if not self.ordered:
            return [v for i, v in enumerate(self.ranks) if i != at]
        return [self.ranks[i] for i in (at - 1, at + 1) if 0 <= i < self.size]

    def share(self, value: Any) -> float:
        """Map a value to its position from 0 to 1."""
        return self.index(value) / max(1, self.size - 1)

    def at(self, share: float) -> Any:
        """Return the value at a position from 0 to 1."""
        return self.ranks[min(self.size - 1, int(share * self.size))]

    def holds(self, value: Any) -> bool:
        return fingerprint(value) in self.places

    def as_json(self) -> dict[str, Any]:
        return {"choice": list(self.values), **_when_as_json(self.when)}


@dataclass(frozen=True)
class NumberRange:
    """A dimension of numbers from `low` to `high`, both included: in steps, or continuous where `step` is None."""

    key: str
    low: Number
    high: Number
    step: Number | None = None
    log: bool = False
    sign: str = ""
    mark: Mark = field(default=NOWHERE, compare=False)
    when: When = field(default_factory=dict, hash=False)

    @property
    def whole(self) -> bool:
        return isinstance(self.step, int)

    @property
    def ordered(self) -> bool:
        return True

    @property
    def size(self) -> int | None:
        """Count of the values; None for a continuous dimension."""
        if self.step is None:
            return None
        return int((rational(self.high) - rational(self.low)) / rational(self.step)) + 1

    def __iter__(self) -> Iterator[Number]:
        return (self.nth(i) for i in range(self.size or 0))

    def nth(self, index: int) -> Number:
        assert self.step is not None
        value = rational(self.low) + index * rational(self.step)
        return int(value) if self.whole else float(value)

    def near(self, value: Number, distance: float = 0.1) -> list[Number]:
        """Return the next smaller and larger value; without steps, those at `distance`, a part of the whole width."""
        if self.step is None:
            position = self.share(value)
            ends = [self.at(share) for share in (max(0.0, position - distance), min(1.0, position + distance))]
            return [v for v in ends if v != value]
        at, last = self.index(value), (self.size or 1) - 1
        return [self.nth(i) for i in (at - 1, at + 1) if 0 <= i <= last]

    def index(self, value: Number) -> int:
        """Return the number of steps from `low` to a value."""
        assert self.step is not None
        return round((rational(value) - rational(self.low)) / rational(self.step))

    def share(self, value: Number) -> float:
        """Map a value to its position from 0 to 1, on a logarithmic scale with `log`."""
        low, high, v = (log(x) if self.log else x for x in (self.low, self.high, value))
        return (v - low) / (high - low) if high > low else 0.0

    def at(self, share: float) -> Number:
        """Return the value at a position from 0 to 1: the nearest step, or a number of six digits."""
        if self.step is not None and not self.log:
            return self.nth(min((self.size or 1) - 1, int(share * (self.size or 1))))
        low, high = (log(x) if self.log else x for x in (self.low, self.high))
        value = low + share * (high - low)
        return self.nearest(exp(value) if self.log else value)

    def nearest(self, value: Number) -> Number:
        """Return the value of this dimension that is nearest to a number."""
        value = min(max(value, self.low), self.high)
        if self.step is None:
            # Rounding to six digits may leave the interval.
            return min(max(float(f"{value:.{DIGITS}g}"), float(self.low)), float(self.high))
        return self.nth(min(self.index(value), (self.size or 1) - 1))

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or self.nth(self.index(value)) == value

    def as_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"low": self.low, "high": self.high, **_when_as_json(self.when)}
        return document | ({"step": self.step} if self.step is not None else {}) | ({"log": True} if self.log else {})


Dimension = Choices | NumberRange


def _when_as_json(when: When) -> dict[str, Any]:
    return {"when": {key: list(values) for key, values in when.items()}} if when else {}


def fingerprint(value: Any) -> str:
    """Return a text that is equal for equal values of a spec: 8.0 equals 8, and true does not equal 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(fingerprint, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(str(k))}:{fingerprint(v)}' for k, v in sorted(value.items()))}}}"
    return json.dumps(value)


def quoted(text: str) -> str:
    """Quote a word for Hydra's grammar."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def parse_dimension(text: str, spec: Path, mark: Mark | None = None) -> Dimension | None:
    """Parse the dimension of `key=text`; None where it is a single value. SpecError where it is malformed."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep

    mark = mark or mark_of(text)
    if (known := _unknown_function(text)) is not None:
        raise SpecError(Problem(*known, mark, text.partition("=")[0].lstrip("+~")))
    override = parse(text, mark)
    if not override.is_sweep_override():
        return None
    key = override.key_or_group.replace("/", ".")
    reader = _DimensionBuilder(key, "++" if override.is_force_add() else "+" if override.is_add() else "", mark)
    value = override.value()
    reader.check_tags(getattr(value, "tags", set()))
    if override.is_delete() or override.package is not None:
        raise reader.fail("lets a key vary that it drops or puts elsewhere", f"Write `{key}=choice(...)`.")
    if isinstance(value, Glob):
        return reader.choices(reader.options(value, spec))
    if isinstance(value, ChoiceSweep):
        return reader.choices([plain(v) for v in value.list], value.shuffle, value.tags)
    if isinstance(value, RangeSweep):
        return reader.stepped(value)
    assert isinstance(value, IntervalSweep)
    return reader.between(value)


def dimension_of_list(key: str, values: Sequence[Any], mark: Mark) -> Choices:
    """Return the dimension of a list of values in the spec. SpecError where a value is itself a sweep."""
    sign = key[: len(key) - len(key.lstrip("+"))]
    reader = _DimensionBuilder(key.lstrip("+").replace("/", "."), sign, mark)
    for text in _texts(values):
        if _SWEEP.fullmatch(text):
            hint = f"Write `{key}: {text}` without a list, or every value by itself."
            raise reader.fail(f"`{text}` stands inside a list, {SWEEP_IS_WHOLE_VALUE}", hint)
    return reader.choices(values)


_SWEEP = re.compile(r"\s*(choice|range|interval|glob|tag|sort|shuffle)\(.*\)\s*", re.DOTALL)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _unknown_function(text: str) -> tuple[str, str] | None:
    """Return message and hint about a function outside quotes that does not exist; None where all do."""
    value = re.sub(r"'(\\.|[^'\\])*'|\"(\\.|[^\"\\])*\"|\$\{[^}]*\}", "", text.partition("=")[2])
    for name in re.findall(r"([A-Za-z_]\w*)\(", value):
        if name not in FUNCTIONS:
            return f"there is no function `{name}`", did_you_mean(name, FUNCTIONS)
    return None


@dataclass(frozen=True)
class _DimensionBuilder:
    """Builder of the dimension of `key` from one of Hydra's sweeps; its mistakes are at `mark`."""

    key: str
    sign: str
    mark: Mark

    def fail(self, message: str, hint: str = "") -> SpecError:
        return SpecError(Problem(message, hint, self.mark, self.key))

    def check_tags(self, tags: set[str]) -> None:
        for tag in sorted(tags - {"log"}):
            raise self.fail(f"there is no tag `{tag}`", "`tag(log, interval(1e-4, 1e-1))` draws from the logarithm.")

    def choices(self, values: Sequence[Any], shuffled: bool = False, tags: set[str] | None = None) -> Choices:
        if tags:
            raise self.fail("`log` is for numbers between two bounds", "Write `tag(log, interval(1e-4, 1e-1))`.")
        if not values:
            raise self.fail("is a choice of nothing", "Write `choice(1, 2, 3)`.")
        if len(values) > MOST:
            raise self.fail(f"has {len(values):,} values, and {MOST:,} are the most", "Write an interval.")
        seen: set[str] = set()
        for value in values:
            if (name := fingerprint(value)) in seen:
                raise self.fail(f"has {shown(value)} twice", "Each value is tried once: drop one.")
            seen.add(name)
        if shuffled:
            # Seeded by the key: a sweep that is continued has the values in the order of its first start.
            values = Random(self.key).sample(list(values), len(values))  # noqa: S311 - an order, no secret
        return Choices(self.key, tuple(values), self.sign, self.mark)

    def options(self, glob: Any, spec: Path) -> list[str]:
        """Return the options of a config group, its files, that a glob matches."""
        group = self.key.replace(".", "/")
        names = sorted({path.stem for folder in search_path(spec) for path in specs_in(folder / group)})
        picked: list[str] = glob.filter(names)
        if not names:
            raise self.fail(f"there is no config group `{group}`", f"Its options are files: `{group}/NAME.yaml`.")
        if not picked:
            patterns = ", ".join(glob.include)
            raise self.fail(
                f"`{patterns}` picks none of the {plural(len(names), 'option')} of `{group}`",
                did_you_mean(patterns, names),
            )
        return picked

    def stepped(self, sweep: Any) -> Dimension:
        start, stop, step = sweep.start, sweep.stop, sweep.step
        text = f"range({start}, {stop}{'' if step == 1 else f', {step}'})"
        if not all(isinstance(v, int | float) and isfinite(v) for v in (start, stop, step)):
            raise self.fail(f"{text} wants finite numbers")
        if step == 0:
            raise self.fail(f"{text} has a step of 0", "Write a step above 0, or leave it out.")
        count = ceil((rational(stop) - rational(start)) / rational(step))
        if count <= 0:
            way = "up" if step > 0 else "down"
            hint = f"Did you mean `range({stop}, {start})`?" if step > 0 and start != stop else "Its end is left out."
            raise self.fail(f"{text} has no values: it counts {way} from {start}, and ends before {stop}", hint)
        if not (isinstance(start, int) and isinstance(stop, int) and isinstance(step, int)):
            start, step = float(start), float(step)
        up = NumberRange(self.key, start, start, step, sign=self.sign, mark=self.mark)
        if step < 0 or sweep.shuffle:
            if count > MOST:
                raise self.fail(f"{text} has {count:,} values, and {MOST:,} are the most that are put in order")
            return self.choices([up.nth(i) for i in range(count)], sweep.shuffle, sweep.tags)
        made = NumberRange(self.key, start, up.nth(count - 1), step, "log" in sweep.tags, self.sign, self.mark)
        if made.log and step != 1:
            hint = f"Write `tag(log, interval({start}, {made.high}))`, or a `choice` of the values."
            raise self.fail(f"{text} has even steps of {step}, and no logarithm", hint)
        return self.bounded(made, text)

    def between(self, sweep: Any) -> NumberRange:
        low, high = sweep.start, sweep.end
        text = f"interval({low:g}, {high:g})"
        if not (isfinite(low) and isfinite(high)):
            raise self.fail(f"{text} wants finite bounds")
        if low >= high:
            hint = f"Did you mean `interval({high:g}, {low:g})`?" if low > high else f"Write `{self.key}={low:g}`."
            raise self.fail(f"{text} is {'reversed' if low > high else 'a single value'}", hint)
        # Whole bounds mean whole numbers, as `interval(8, 64)` for `train.batch_size`.
        step = 1 if isinstance(low, int) and isinstance(high, int) else None
        return self.bounded(NumberRange(self.key, low, high, step, "log" in sweep.tags, self.sign, self.mark), text)

    def bounded(self, made: NumberRange, text: str) -> NumberRange:
        if made.log and made.low <= 0:
            raise self.fail(f"{text} has no logarithm at {made.low:g}", "Start above 0, such as at 1e-5.")
        return made
