"""What an analysis finds, as plain numbers and arrays: figures that claims name, panels to draw, a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from ..lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Values = Sequence[float] | Array

Scale = Literal["linear", "log"]
FAR = 100
"""Ratio of the largest to the least value of a map from which on its colours go by the logarithm."""


@dataclass(frozen=True)
class Lines:
    """A line through points (n,) in their order, with a band from `low` to `high`; dashed for theory or a bound."""

    label: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Points:
    """Points (n,). `labels` names each, as by its class, and colours it; with `numbers` the names stand for dots."""

    label: str
    x: Values
    y: Values
    labels: Sequence[str] | None = None
    numbers: bool = False


@dataclass(frozen=True)
class Bars:
    """Bars by name, with lines of error from `low` to `high`; several of them in a panel stand side by side."""

    label: str
    x: Sequence[str]
    y: Values
    low: Values | None = None
    high: Values | None = None


@dataclass(frozen=True)
class Heat:
    """Values (len(y), len(x)) over an even grid whose lowest row is the first.

    With `classes` the values are class numbers, in colours of their own; with `contours` lines of equal value are
    drawn over them. `label` is what the values are; `scale` is that of their colours, and `limits` are the values of
    the first and the last, where maps are to be compared: by default the least and the largest. `x_names` and
    `y_names` are those of columns and rows that are layers or classes, and stand at the axes where they are few.
    """

    x: Values
    y: Values
    values: Array = field(repr=False)
    classes: Sequence[str] | None = None
    contours: bool = False
    label: str = ""
    scale: Scale = "linear"
    limits: tuple[float, float] | None = None
    x_names: Sequence[str] = ()
    y_names: Sequence[str] = ()


@dataclass(frozen=True)
class Pictures:
    """Pictures with captions, (height, width, 1 or 3) from 0 to 1, `columns` in a line. A panel of their own."""

    pictures: Sequence[tuple[str, Array]] = field(repr=False)
    columns: int = 8


Mark = Lines | Points | Bars | Heat | Pictures


@dataclass(frozen=True)
class Panel:
    """Marks on common axes; `x` and `y` are their titles, with units."""

    title: str
    x: str
    y: str
    marks: tuple[Mark, ...]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"


@dataclass(frozen=True)
class Result:
    """What an analysis found.

    Attributes:
        figures: numbers by name in snake_case, which claims name: `analysis/NAME/FIGURE`.
        panels: what is drawn.
        table: titles, and rows of texts and numbers.
        notes: sentences about how it came about.
        seeds: networks that the figures are means over.
    """

    figures: Mapping[str, float | int | bool]
    panels: tuple[Panel, ...] = ()
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] = ((), ())
    notes: tuple[str, ...] = ()
    seeds: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON values; what is not finite is null."""
        titles, rows = self.table
        return {
            "figures": {name: plain(value) for name, value in self.figures.items()},
            "panels": [_panel(one) for one in self.panels],
            "table": {"titles": list(titles), "rows": [[plain(cell) for cell in row] for row in rows]},
            "notes": list(self.notes),
            "seeds": self.seeds,
        }


def _panel(one: Panel) -> dict[str, Any]:
    axes = {"x": one.x, "y": one.y, "x_scale": one.x_scale, "y_scale": one.y_scale}
    return {"title": one.title, **axes, "marks": [_mark(mark) for mark in one.marks]}


def _mark(one: Mark) -> dict[str, Any]:
    kind = type(one).__name__.lower()
    if isinstance(one, Pictures):
        return {"kind": kind, "pictures": [{"caption": words, "values": plain(v)} for words, v in one.pictures]}
    return {"kind": kind, **{name: plain(value) for name, value in vars(one).items() if value is not None}}


def scale_of(values: Array) -> Scale:
    """Return a logarithmic scale for the colours of a map whose values are all above 0 and differ by much."""
    return "log" if values.min() > 0 and values.max() > FAR * values.min() else "linear"


def plain(value: Any) -> Any:
    """Return numbers, arrays and sequences as JSON has them, None for what is not finite."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


__all__ = ["Bars", "Heat", "Lines", "Mark", "Panel", "Pictures", "Points", "Result", "Scale", "plain", "scale_of"]
