"""Panels of analyses as specifications of Vega-Lite: lines with bands, points, bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..analysis.result import Bars, Heat, Lines, Mark, Panel, Pictures, Points
from ..lazy import np
from . import analysis_heat
from .charts import Json, framed, scale_around
from .charts_data import table
from .charts_style import COLOURS, HEIGHT, WIDTH, Theme
from .plot_figure import rounded

BAR = 26
"""Pixels of the width of a bar, or of those side by side."""
DASHES = [5, 4]
"""Pixels of a dash and of the room behind it."""
FEW = 12
"""Values of a line up to which each is a dot too, and whole numbers of an axis that are each named."""
HUGE = 1e6
"""From here on numbers of a logarithmic axis, or their inverse, are written as powers of ten."""


def chart(panels: Sequence[Panel], theme: Theme = "light") -> Json:
    """Return the specification of panels side by side, without those of pictures."""
    made = framed([panel_of(one, theme) for one in panels if not is_pictures(one)], theme)
    if "concat" in made:
        made["resolve"] = {
            what: {"color": "independent", "strokeDash": "independent"} for what in ("legend", "scale")
        }
    return made


def is_pictures(panel: Panel) -> bool:
    """Whether a panel holds pictures, which are drawn as a sheet."""
    return any(isinstance(one, Pictures) for one in panel.marks)


def panel_of(panel: Panel, theme: Theme) -> Json:
    """Return one panel: maps below, then bars, lines and points."""
    maps = [one for one in panel.marks if isinstance(one, Heat)]
    bars = [one for one in panel.marks if isinstance(one, Bars)]
    curves = [one for one in panel.marks if isinstance(one, Lines | Points)]
    layers = [layer for one in maps for layer in analysis_heat.layers(one, panel)]
    layers += bar_layers(bars, panel, theme) if bars else []
    if curves:
        # one group, whose marks have the colours of their labels and one legend
        each = [layer for one in _by_height(curves, over=bool(maps)) for layer in _layers(one, panel)]
        colours = _colours(curves, maps)
        colour = _colour(colours, curves, maps)
        layers.append({"layer": each, "encoding": {"color": colour, **_dashes(colours, curves, colour["legend"])}})
    own = {what: {"color": "independent", "strokeDash": "independent"} for what in ("legend", "scale")}
    return {"title": panel.title, **_size(panel, bars), "layer": layers, "resolve": own}


def _size(panel: Panel, bars: Sequence[Bars]) -> Json:
    if any(isinstance(one, Heat) for one in panel.marks):
        return {"width": WIDTH, "height": WIDTH}
    names = len({name for one in bars for name in one.x})
    return {"width": max(WIDTH, BAR * names * max(1, len(bars) // 2)), "height": HEIGHT}


def _by_height(curves: Sequence[Lines | Points], *, over: bool) -> list[Lines | Points]:
    """Return the curves from the lowest up: over a map the shortest path above others, which would hide it."""
    if not over:
        return list(curves)
    return sorted(curves, key=lambda one: (isinstance(one, Points), -_length(one)))


def _length(one: Lines | Points) -> float:
    x, y = (np.asarray(values, float) for values in (one.x, one.y))
    return float(np.nansum(np.hypot(np.diff(x), np.diff(y)))) if isinstance(one, Lines) else 0.0


def _dashes(colours: dict[str, str], marks: Sequence[Mark], legend: Json | None) -> Json:
    """Return what draws lines in dashes in the legend too, where there are such lines."""
    dashed = {one.label for one in marks if isinstance(one, Lines) and one.dashed}
    dashed -= {one.label for one in marks if isinstance(one, Lines) and not one.dashed}
    if not dashed or len(colours) < 2:
        return {}
    ways = [DASHES if label in dashed else [1, 0] for label in colours]
    scale = {"domain": list(colours), "range": ways}
    return {"strokeDash": {"field": "label", "type": "nominal", "scale": scale, "legend": legend}}


def labels_of(marks: Sequence[Mark]) -> list[str]:
    """Return the labels of lines and points, the classes of points among them, in their order."""
    found: dict[str, None] = {}
    for one in marks:
        if isinstance(one, Points) and one.labels is not None:
            found |= dict.fromkeys(map(str, one.labels))
        elif isinstance(one, Lines | Points):
            found[one.label] = None
    return list(found)


def _colours(marks: Sequence[Mark], maps: Sequence[Heat]) -> dict[str, str]:
    """Return a colour for each label: of a class that a map below has, the one of the map."""
    labels, below = labels_of(marks), _classes(maps)
    if set(labels) <= set(below):
        return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(below) if name in labels}
    return dict(zip(labels, COLOURS * len(labels), strict=False))


def _classes(maps: Sequence[Heat]) -> list[str]:
    return [str(name) for one in maps for name in one.classes or ()]


def _symbol(marks: Sequence[Mark], labels: Sequence[str]) -> Any:
    """Return the symbol of labels in a legend: a stroke for lines, a dot for points, each by its mark."""
    lines = {one.label for one in marks if isinstance(one, Lines)}
    if not lines or lines >= set(labels):
        return "stroke" if lines else "circle"
    return {"expr": f"indexof({json.dumps(sorted(lines))}, datum.label) >= 0 ? 'stroke' : 'circle'"}


def _colour(colours: dict[str, str], marks: Sequence[Mark], maps: Sequence[Heat] = ()) -> Json:
    legend: Json = {"title": None, "columns": 4 if len(colours) > 8 else 1, "symbolLimit": 60}
    legend |= {"symbolType": _symbol(marks, list(colours))}
    legend["direction"] = (
        "horizontal" if len(colours) > 8 else "vertical"
    )  # in columns Vega mixes up a short last one
    scale = {"domain": list(colours), "range": list(colours.values())}
    shown = None if len(colours) < 2 or set(colours) <= set(_classes(maps)) else legend  # a map has its own
    return {"field": "label", "type": "nominal", "scale": scale, "legend": shown}


def axis(title: str, scale: str, values: Sequence[Any], *, zero: bool = False) -> Json:
    """Return an axis of numbers; where all are one it reaches beyond."""
    along: Json = {"type": "quantitative", "title": title or None}
    every = np.concatenate([np.asarray(one, float).reshape(-1) for one in values]) if values else np.zeros(0)
    every = every[np.isfinite(every)]
    if scale == "log":
        sizes = every[every > 0]
        far = len(sizes) and (sizes.max() > HUGE or sizes.min() < 1 / HUGE)
        return along | {"scale": {"type": "log", "nice": False}} | ({"axis": {"format": "~e"}} if far else {})
    around = None if zero else scale_around(every)
    return along | {"scale": around or {"zero": zero, "nice": True}}


def _axes(panel: Panel) -> tuple[Json, Json]:
    """Return the axes of a panel of lines, points and maps, the same for all its marks."""
    if any(isinstance(one, Heat) for one in panel.marks):
        return analysis_heat.axes(panel)
    curves = [one for one in panel.marks if isinstance(one, Lines | Points)]
    bands = [end for one in curves if isinstance(one, Lines) for end in (one.low, one.high) if end is not None]
    whole = all(np.asarray(one.x).dtype.kind in "iu" for one in curves) and panel.x_scale == "linear"
    x = axis(panel.x, panel.x_scale, [one.x for one in curves])
    y = axis(panel.y, panel.y_scale, [*(one.y for one in curves), *bands])
    return x | ({"axis": _whole_numbers([one.x for one in curves])} if whole else {}), y


def _whole_numbers(values: Sequence[Any]) -> Json:
    """Return an axis of whole numbers: of few each one, of many some of them; none twice, as of rounded halves."""
    ends = [(int(np.min(one)), int(np.max(one))) for one in values if len(one)]
    low, high = min((one for one, _ in ends), default=0), max((one for _, one in ends), default=0)
    every = {"values": list(range(low, high + 1))} if high - low < FEW else {"tickMinStep": 1}
    return {**every, "format": ",d"}


def _line(one: Lines, panel: Panel) -> list[Json]:
    x, y = _axes(panel)
    count = len(one.x)
    rows = _placed([one.x, one.y, one.low, one.high], panel, count)
    # points are joined in their order: a path may turn back
    data = table(("i", "x", "y", "low", "high", "label"), [[i, *row, one.label] for i, row in enumerate(rows)], TYPES)
    at = {"x": x | {"field": "x"}, "y": y | {"field": "y"}}
    mark: Json = {"type": "line", "clip": True}
    if one.dashed:
        mark["strokeDash"] = DASHES
    found: list[Json] = [{"data": data, "mark": mark, "encoding": at | {"order": {"field": "i"}}}]
    if count == 1 or _is_measured(one, panel):
        found.append({"data": data, "mark": {"type": "point", "filled": True, "opacity": 1}, "encoding": at})
    if one.low is not None and one.high is not None:
        ends = {"x": at["x"], "y": at["y"] | {"field": "low"}, "y2": {"field": "high"}}
        area = {"type": "area", "opacity": 0.18, "clip": True}
        found.insert(0, {"data": data, "mark": area, "encoding": ends})
    return found


def _is_measured(one: Lines, panel: Panel) -> bool:
    """Whether a line joins a few measured values, and is no formula, no path and no straight piece."""
    others = any(isinstance(mark, Heat | Points) for mark in panel.marks)
    ends = len(one.x) == 2 and np.asarray(one.x).dtype.kind not in "iu"
    return len(one.x) <= FEW and not (one.dashed or others or ends)


TYPES = dict.fromkeys(("i", "x", "y", "low", "high"), "number") | {"label": "string"}
"""Of the columns of lines and points: a label such as 7 would be a number to Vega, and have no colour."""


def _placed(columns: Sequence[Any], panel: Panel, count: int) -> list[tuple[str, ...]]:
    """Return rows of numbers as text; what has no place on a logarithmic axis is missing, a band ends below it."""
    x, y = (np.asarray(one, float) for one in columns[:2])
    low, high = (None if one is None else np.asarray(one, float) for one in columns[2:])
    if panel.y_scale == "log":
        y = np.where(y > 0, y, np.nan)
        least = np.nanmin(y) if np.isfinite(y).any() else 1.0
        low = low if low is None else np.where(low > 0, low, least / 10)
    if panel.x_scale == "log":
        y = np.where(x > 0, y, np.nan)
        x = np.where(x > 0, x, np.nan)
    return list(zip(*(rounded(one, count) for one in (x, y, low, high)), strict=True))


def _layers(one: Lines | Points, panel: Panel) -> list[Json]:
    return _line(one, panel) if isinstance(one, Lines) else _points(one, panel)


def _points(one: Points, panel: Panel) -> list[Json]:
    x, y = _axes(panel)
    rows = _placed([one.x, one.y, None, None], panel, len(one.x))
    labels = [one.label] * len(one.x) if one.labels is None else list(map(str, one.labels))
    data = table(("x", "y", "label"), [[*row[:2], label] for row, label in zip(rows, labels, strict=True)], TYPES)
    at: Json = {"x": x | {"field": "x"}, "y": y | {"field": "y"}}
    size = 60 if len(one.x) <= 40 else 18
    mark: Json = {"type": "point", "filled": True, "size": size, "opacity": 0.85}
    if any(isinstance(below, Heat) for below in panel.marks):  # a rim, on whatever colour
        mark |= {"stroke": "#ffffff", "strokeWidth": 0.8, "opacity": 1}
    if one.numbers:
        mark = {"type": "text", "fontSize": 10}
        at["text"] = {"field": "label", "type": "nominal"}
    return [{"data": data, "mark": mark, "encoding": at}]


def bar_layers(bars: Sequence[Bars], panel: Panel, theme: Theme) -> list[Json]:
    """Return bars by name, several of a name side by side, with their lines of error."""
    rows = []
    for one in bars:
        count = len(one.x)
        columns = (rounded(values, count) for values in (one.y, one.low, one.high))
        rows += [[one.label, *row] for row in zip(map(str, one.x), *columns, strict=True)]
    names, labels = list(dict.fromkeys(str(name) for one in bars for name in one.x)), [one.label for one in bars]
    data = table(("label", "x", "y", "low", "high"), rows, TYPES | {"x": "string"})
    turned = -35 if max(map(len, names)) > 4 and len(names) > 5 else 0
    place: Json = {
        "x": {
            "field": "x",
            "type": "nominal",
            "sort": names,
            "title": panel.x or None,
            "axis": {"labelAngle": turned},
        },
    }
    if len(bars) > 1:
        place["xOffset"] = {"field": "label", "sort": labels}
    height = axis(panel.y, panel.y_scale, [], zero=panel.y_scale == "linear")
    colour = _colour(dict(zip(labels, COLOURS * len(labels), strict=False)), ()) | {"type": "nominal"}
    if colour["legend"] is not None:
        colour["legend"]["symbolType"] = "square"
    mark = {"type": "bar", "width": {"band": 0.8}}
    found: list[Json] = [
        {"data": data, "mark": mark, "encoding": place | {"y": height | {"field": "y"}, "color": colour}}
    ]
    if any(one.low is not None for one in bars):
        ends = {"y": height | {"field": "low"}, "y2": {"field": "high"}}
        ink = "#7d8791" if theme == "light" else "#c3cbd3"
        found.append(
            {"data": data, "mark": {"type": "rule", "strokeWidth": 1.6, "color": ink}, "encoding": place | ends}
        )
    return found
