"""Reliability diagrams: the share of right predictions in bins of their confidence."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..trained.calibration import Calibration, calibration
from ..trained.difference import RunGroup
from .charts_data import table
from .charts_style import COLOURS, INK, Theme
from .kinds import Kind
from .looks import of_groups

if TYPE_CHECKING:
    from .plot import Drawing

SIDE = 260
"""Pixels of a side of a diagram."""
DIFFERENCE = "#f2b48c"
"""Colour of the gap between accuracy and confidence."""


@dataclass(frozen=True)
class Reliability:
    """Reliability diagrams side by side, each with the label of its group."""

    diagrams: tuple[tuple[str, Calibration], ...]
    kind: Kind = "calibration"

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the titles and the rows of all bins."""
        rows = [
            [label, one.part, *one.bounds[i : i + 2].tolist(), int(one.count[i]), *values]
            for label, one in self.diagrams
            for i in range(len(one.count))
            for values in [[_number(one.confidence[i]), _number(one.accuracy[i])]]
        ]
        return ["runs", "part", "from", "to", "count", "confidence", "accuracy"], rows

    def as_json(self) -> dict[str, Any]:
        """Return the bins, and the errors over them, for `--json`."""
        each = [
            {
                "label": label,
                "part": one.part,
                "bins": [
                    {"from": low, "to": high, "count": int(n), "confidence": _number(c), "accuracy": _number(a)}
                    for low, high, n, c, a in zip(
                        one.bounds[:-1].tolist(), one.bounds[1:].tolist(), one.count, one.confidence, one.accuracy,
                        strict=True,
                    )
                ],
                "expected_calibration_error": one.expected_error,
                "maximum_calibration_error": one.largest_error,
            }
            for label, one in self.diagrams
        ]  # fmt: skip
        return {"kind": self.kind, "diagrams": each}


def reliability(drawing: Drawing) -> Reliability:
    """Measure the calibration of the first run of each group. DlxError where none tells classes apart."""
    options = drawing.options

    def of(group: RunGroup) -> list[Calibration]:
        run = group.runs[0]
        return calibration(run, options.part or None, options.bins, loaded=drawing.loaded(run))

    found = of_groups(drawing, of)
    return Reliability(
        tuple((f"{group.label}: {one.head}" if one.head else group.label, one) for group, one in found)
    )


def reliability_panel(label: str, one: Calibration, theme: Theme = "light") -> dict[str, Any]:
    """Return a diagram: accuracy as bars, the gap to the confidence, and below it the share of the predictions."""
    total, ink = max(int(one.count.sum()), 1), INK[theme]
    rows = [
        (low, high, a, c, n / total)
        for low, high, n, c, a in zip(
            one.bounds[:-1].tolist(),
            one.bounds[1:].tolist(),
            one.count.tolist(),
            one.confidence.tolist(),
            one.accuracy.tolist(),
            strict=True,
        )
        if n
    ]
    shared: dict[str, Any] = {
        "x": {"field": "from", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "x2": {"field": "to"},
    }
    unseen = shared | {"x": shared["x"] | {"axis": {"labels": False, "title": None}}}
    height: dict[str, Any] = {"type": "quantitative", "scale": {"domain": [0, 1]}}
    bars = {"y": {"field": "accuracy", "title": "accuracy", **height}, "y2": {"datum": 0}}
    between = {"y": {"field": "confidence", **height}, "y2": {"field": "accuracy"}}
    line = {"x": {"datum": 0}, "x2": {"datum": 1}, "y": {"datum": 0}, "y2": {"datum": 1}}
    rule = {"type": "rule", "strokeDash": [4, 3], "color": ink["faint"]}
    names = ("from", "to", "accuracy", "confidence", "share")
    words = (
        f"ECE {one.expected_error:.3g}, largest gap {one.largest_error:.3g}, "
        f"{len(one.count)} bins, {total:,} predictions"
    )
    diagram = {
        "width": SIDE,
        "height": SIDE,
        "layer": [
            {"mark": {"type": "bar", "color": COLOURS[0], "opacity": 0.85}, "encoding": unseen | bars},
            {"mark": {"type": "bar", "color": DIFFERENCE, "stroke": COLOURS[1]}, "encoding": unseen | between},
            {"mark": rule, "encoding": line},
        ],
    }
    counts = {"field": "share", "type": "quantitative", "title": "share", "axis": {"format": "%", "tickCount": 3}}
    title = {"title": "confidence"}
    histogram = {
        "width": SIDE,
        "height": 56,
        "mark": {"type": "bar", "color": ink["line"]},
        "encoding": shared | {"x": shared["x"] | title, "y": counts, "y2": {"datum": 0}},
    }
    small = {"subtitle": words, "subtitleColor": ink["faint"], "subtitleFontSize": 11}
    heading = {"text": f"{label}: {one.part}", **small}
    return {
        "title": heading,
        "data": table(names, rows, dict.fromkeys(names, "number")),
        "vconcat": [diagram, histogram],
        "spacing": 8,
    }


def _number(value: Any) -> float | None:
    return float(value) if isfinite(value) else None
