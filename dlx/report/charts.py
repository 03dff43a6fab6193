"""Figures as specifications of Vega-Lite, which draws them in a browser and, by vl-convert, as SVG, PNG and PDF.

https://vega.github.io/vega-lite/docs/. They are plain JSON, with the data inside as CSV: a fourth of the size of rows
of objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..lazy import np
from .charts_data import table
from .charts_style import COLOURS, DASHES, HEIGHT, MOST_LABELLED, WIDTH, Theme, config
from .kinds import Kind
from .plot_calibration import Reliability, reliability_panel
from .plot_figure import Figure, Matrices, Matrix, Series, rounded
from .plot_trials import Parallel, parallel_panel

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
Json = dict[str, Any]
ROUNDING = 1e-9
"""Part of values by which they differ in their last digits alone."""


def chart(figure: Figure | Matrices | Reliability | Parallel, theme: Theme = "light") -> Json:
    """Return the specification of a figure: its panels side by side, at most three in a row."""
    if isinstance(figure, Matrices):
        panels = [matrix_panel(one, theme) for one in figure.matrices]
    elif isinstance(figure, Reliability):
        panels = [reliability_panel(*one, theme) for one in figure.diagrams]
    elif isinstance(figure, Parallel):
        panels = [parallel_panel(figure, theme)]
    else:
        make = PANELS[figure.kind]
        panels = [make(figure, panel) for panel in figure.panels]
    return framed(panels, theme)


def framed(panels: Sequence[Json], theme: Theme) -> Json:
    """Return panels with what they have in common."""
    about = {"$schema": SCHEMA, "config": config(theme)}
    if len(panels) == 1:
        return about | panels[0]
    shared = {"legend": {"color": "shared"}, "scale": {"color": "shared", "strokeDash": "independent"}}
    return about | {"concat": list(panels), "columns": 2 if len(panels) in {2, 4} else 3, "resolve": shared}


# --- curves ---------------------------------------------------------------------------------------------------------


def curve_panel(figure: Figure, panel: str) -> Json:
    """Return a panel of lines, with a band about those of several runs: colour is the group, the dash the metric."""
    series = [one for one in figure.series if one.panel == panel]
    metrics = figure.metrics(panel)
    encoding: Json = {
        "x": _along(figure),
        "y": {
            "field": "y",
            "type": "quantitative",
            "title": _title(panel, metrics),
            "scale": scale_of(series, figure.scale),
        },
        "color": _colour(figure),
        "detail": {"field": "key"},
    }
    dash = {"encoding": {"strokeDash": _dashes(metrics)}} if len(metrics) > 1 else {}
    layers: list[Json] = [{"mark": {"type": "line", "clip": True}, **dash}]
    if any(len(one.x) == 1 for one in series):
        layers.append({"mark": {"type": "point", "filled": True, "size": 40}})
    if any(one.low is not None for one in series):
        ends = {"y": encoding["y"] | {"field": "low"}, "y2": {"field": "high"}}
        layers.insert(0, {"mark": {"type": "area", "opacity": 0.18, "clip": True}, "encoding": ends})
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": _data(series),
        "transform": [_names(series)],
        "encoding": encoding,
        "layer": layers,
    }


def _along(figure: Figure) -> Json:
    """Return the horizontal axis: steps and epochs have whole numbers alone."""
    whole = all(one.x.dtype.kind == "i" for one in figure.series)
    axis = {"axis": {"tickMinStep": 1, "format": ",d"}} if whole and figure.x_scale == "linear" else {}
    scale = _scale(figure.x_scale)
    return {"field": "x", "type": "quantitative", "title": figure.x, "scale": scale, **axis}


def _title(panel: str, metrics: Sequence[str]) -> str:
    return metrics[0] if len(metrics) == 1 else panel


def _scale(kind: str) -> Json:
    return {"type": "log", "nice": False} if kind == "log" else {"zero": False, "nice": True}


def scale_of(series: Sequence[Series], kind: str = "linear") -> Json:
    """Return the scale of values; where all are one it reaches beyond."""
    ends = [each for one in series for each in (one.y, one.low, one.high) if each is not None and len(each)]
    values = np.concatenate(ends) if ends else np.empty(0)
    return (None if kind == "log" else scale_around(values[np.isfinite(values)])) or _scale(kind)


def scale_around(values: Any) -> Json | None:
    """Return a scale that reaches beyond values that are all one, whose only tick Vega would round; else None.

    They may differ in their last digits: the mean of sixty times 0.003 is not quite 0.003.
    """
    if not len(values) or np.ptp(values) > ROUNDING * np.abs(values).max():
        return None
    value = float(values[0])
    return {"domain": [value - (abs(value) / 10 or 1), value + (abs(value) / 10 or 1)], "nice": True}


def _colour(figure: Figure) -> Json:
    labels = figure.labels
    palette = [COLOURS[i % len(COLOURS)] for i in range(len(labels))]
    legend: Json | None = {
        "title": f"band: {figure.band}" if figure.band else None,
        "symbolType": "circle" if figure.kind == "scatter" else "stroke",
        "columns": 1,
    }
    if len(labels) == 1 and not figure.band:
        legend = None
    if legend is not None and figure.counts:
        runs = json.dumps({name: f" (n={count})" for name, count in figure.counts.items()})
        legend["labelExpr"] = f"datum.label + ({runs}[datum.label] || '')"
    scale: Json = {"domain": labels, "range": palette}
    if figure.kind == "gradients":  # layers have an order
        scale = {"domain": labels, "scheme": "viridis"}
        legend = {"title": "layer", "symbolType": "stroke", "columns": 2, "symbolLimit": 60}
    return {"field": "label", "type": "nominal", "scale": scale, "legend": legend}


def _dashes(metrics: Sequence[str]) -> Json:
    dashes = [list(DASHES[i % len(DASHES)]) for i in range(len(metrics))]
    legend = {"title": None, "symbolType": "stroke", "symbolStrokeColor": "#7d8791", "columns": 1}
    return {
        "field": "metric",
        "type": "nominal",
        "scale": {"domain": list(metrics), "range": dashes},
        "legend": legend,
    }


def _data(series: Sequence[Series]) -> Json:
    """Return values as CSV, each with the number of its series: their names stand once, in a look-up."""
    keys = {id(one): number for number, one in enumerate(series)}
    rows: list[Sequence[Any]] = []
    for one in series:
        count = len(one.x)
        columns = [rounded(values, count) for values in (one.x, one.y, one.low, one.high)]
        rows += zip([keys[id(one)]] * count, *columns, strict=True)
    names = ("key", "x", "y", "low", "high")
    return table(names, rows, dict.fromkeys(names, "number"))


def _names(series: Sequence[Series]) -> Json:
    named = [{"key": number, "label": one.label, "metric": one.metric} for number, one in enumerate(series)]
    return {"lookup": "key", "from": {"data": {"values": named}, "key": "key", "fields": ["label", "metric"]}}


# --- bars and scatter -----------------------------------------------------------------------------------------------


def bar_panel(figure: Figure, panel: str) -> Json:
    """Return a panel of bars: the mean of each group, its interval, and the runs as points."""
    series = [one for one in figure.series if one.panel == panel]
    labels = {"labelAngle": 0, "labelLimit": 220, "title": None}
    place = {"field": "label", "type": "nominal", "sort": figure.labels, "axis": labels, "title": None}
    value = {"field": "y", "type": "quantitative", "title": panel, "scale": {"type": figure.scale}}
    mean = value | {"aggregate": "mean"}
    layers: list[Json] = [{"mark": {"type": "bar", "width": {"band": 0.62}}, "encoding": {"x": mean}}]
    if any(one.low is not None for one in series):
        rule = {"x": value | {"field": "low", "aggregate": "min"}, "x2": {"field": "high", "aggregate": "max"}}
        still = {"color": {"value": "#7d8791"}}
        layers.append({"mark": {"type": "rule", "strokeWidth": 1.6}, "encoding": rule | still})
    if any(one.runs > 1 for one in series):
        dot = {"type": "point", "filled": True, "size": 22, "opacity": 0.9, "color": "#7d8791"}
        layers.append({"mark": dot, "encoding": {"x": value, "color": {"value": "#7d8791"}}})
    colour = _colour(figure) | {"legend": None}
    return {
        "width": WIDTH,
        "height": {"step": 34},
        "title": f"{panel}{f', {figure.band}' if figure.band else ''}",
        "data": _data(series),
        "transform": [_names(series)],
        "encoding": {"y": place, "color": colour},
        "layer": layers,
    }


def scatter_panel(figure: Figure, panel: str) -> Json:
    """Return a panel of points, one a run."""
    series = [one for one in figure.series if one.panel == panel]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": _data(series),
        "transform": [_names(series)],
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.8},
        "encoding": {
            "x": _along(figure),
            "y": {"field": "y", "type": "quantitative", "title": panel, "scale": scale_of(series, figure.scale)},
            "color": _colour(figure),
        },
    }


PANELS: dict[Kind, Callable[[Figure, str], Json]] = {
    "curve": curve_panel,
    "gradients": curve_panel,
    "bar": bar_panel,
    "scatter": scatter_panel,
}
"""What draws a panel of a kind."""


# --- confusion matrices ---------------------------------------------------------------------------------------------


def matrix_panel(one: Matrix, theme: Theme = "light") -> Json:
    """Return a panel of cells: the count, and as its shade the share of the targets of its row."""
    count = len(one.classes)
    rows = [
        (i, j, number, f"{number / total:.4f}" if (total := sum(row)) else "0")
        for i, row in enumerate(one.counts)
        for j, number in enumerate(row)
    ]
    types = dict.fromkeys(("i", "j", "count", "share"), "number")
    names = [{"at": i, "name": name} for i, name in enumerate(one.classes)]
    side = max(10, min(34, 420 // max(count, 1)))
    axis: Json = {"labelLimit": 120, "labelOverlap": count > MOST_LABELLED}
    cells = {
        "x": {"field": "predicted", "type": "nominal", "sort": list(one.classes), "title": "predicted", "axis": axis},
        "y": {"field": "target", "type": "nominal", "sort": list(one.classes), "title": "target", "axis": axis},
    }
    shade = ["#eef3f8", "#08306b"] if theme == "light" else ["#1d242c", "#7fb5e6"]
    legend = {"title": "share of the targets", "format": ".0%", "orient": "right"}
    layers: list[Json] = [
        {
            "mark": "rect",
            "encoding": {
                "color": {
                    "field": "share",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1], "range": shade, "interpolate": "lab"},
                    "legend": legend,
                }
            },
        }
    ]
    if count <= MOST_LABELLED:
        inks = ["#ffffff", "#1f2933"] if theme == "light" else ["#10151a", "#e8ebef"]
        light = {"condition": {"test": "datum.share > 0.5", "value": inks[0]}, "value": inks[1]}
        written = {"text": {"field": "count", "type": "quantitative", "format": ","}, "color": light}
        size = 11 if count <= 12 else 9
        shown = {"filter": "datum.count > 0"}
        layers.append({"transform": [shown], "mark": {"type": "text", "fontSize": size}, "encoding": written})
    of = f", {one.runs} runs" if one.runs > 1 else ""
    return {
        "title": f"{one.label}: {one.part}{of}",
        "width": {"step": side},
        "height": {"step": side},
        "data": table(("i", "j", "count", "share"), rows, types),
        "transform": [_class_names("i", "target", names), _class_names("j", "predicted", names)],
        "encoding": cells,
        "layer": layers,
    }


def _class_names(index: str, field: str, names: Sequence[Json]) -> Json:
    source = {"data": {"values": list(names)}, "key": "at", "fields": ["name"]}
    return {"lookup": index, "from": source, "as": [field]}
