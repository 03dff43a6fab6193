"""The curves of a page: charts that Vega draws in the browser, by step or by time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from ..errors import plural
from .charts import Json, framed, matrix_panel, scale_of
from .charts_data import table
from .charts_style import COLOURS, DASHES, HEIGHT, config
from .page_html import Markup, data, joined, paragraph, text
from .plot import Drawing, confusion, curve, panel_of
from .plot_figure import Figure, Series, rounded
from .plot_gradients import is_size
from .plot_options import Options

POINTS = 600
"""Points of a curve on the page at most, twice as many as a panel has pixels for one of two lines."""
MOST_POINTS = 60_000
"""Points of all curves of a page at most: of many runs each has fewer, so that the page stays below 3 MB."""
TITLES = {"lr": "learning rate"}


def charts(drawing: Drawing) -> Markup:
    """Return a chart for each quantity that the runs have recorded."""
    names = {name for runs in drawing.curves.values() for one in runs for name in one if not is_size(name)}
    if not names:
        return paragraph("No curve is recorded: these runs have no record of a step or an evaluation.", "note")
    stages = drawing.stages
    order = sorted(names, key=lambda name: _place(name, stages))
    options = drawing.options
    asked = Options(tuple(order), band=options.band)
    by_step, by_time = (curve(drawing.with_options(_along(asked, axis))) for axis in ("step", "time"))
    points = max(20, min(POINTS, MOST_POINTS // max(1, len(by_step.series))))
    figures = [_chart(by_step, by_time, panel, number, points) for number, panel in enumerate(by_step.panels)]
    buttons = Markup(
        '<div class="controls" role="group" aria-label="axes of the curves">'
        '<button type="button" data-axis="step" aria-pressed="true">by step</button>'
        '<button type="button" data-axis="time" aria-pressed="false">by time</button>'
        '<button type="button" data-scale="log" aria-pressed="false">log scale</button></div>'
    )
    band = paragraph(f"Lines are means where there are several runs; the band is the {by_step.band}.", "note")
    keys = paragraph("Arrow keys move along a curve that has the focus; the values stand below it.", "keys")
    return joined([legend(by_step.labels), buttons, *([band] if by_step.band else []), keys, _grid(figures)])


def _along(options: Options, axis: str) -> Options:
    return Options(options.metrics, x=axis, band=options.band)


def _place(name: str, stages: Mapping[str, str]) -> tuple[int, int, str, str]:
    """Return where a metric stands: by stage; losses first, then what is measured of held-out parts, rates last."""
    stage = stages.get(name, "")
    panel = panel_of(name.removeprefix(f"{stage}/"))
    kind = 0 if panel == "loss" else 2 if panel.startswith("lr") else 1
    return list(dict.fromkeys(stages.values())).index(stage) if stage else -1, kind, panel, name


def _titled(panel: str) -> str:
    """Return the title of a panel: its name in words, and its stage."""
    name, comma, stage = panel.partition(", stage ")
    return f"{TITLES.get(name, name)}{comma}{stage}"


def _grid(figures: Sequence[Markup]) -> Markup:
    return Markup(f'<div class="charts">{joined(figures)}</div>')


def legend(labels: Sequence[str]) -> Markup:
    """Return the colours of the groups, once for all charts; nothing for one group."""
    if len(labels) < 2:
        return Markup("")
    items = "".join(
        f'<li><span class="swatch" style="background:{COLOURS[i % len(COLOURS)]}"></span>{text(label)}</li>'
        for i, label in enumerate(labels)
    )
    return Markup(f'<ul class="legend" aria-label="colours of the runs">{items}</ul>')


def _chart(by_step: Figure, by_time: Figure, panel: str, number: int, points: int) -> Markup:
    """Return the element and the specification of a panel."""
    pairs = [
        (one.thinned(points), other)
        for one, other in zip(by_step.series, by_time.series, strict=True)
        if one.panel == panel
    ]
    steps = [one for one, _ in pairs]
    seconds = [_at_same(other, one, full) for (one, other), full in zip(pairs, _of(by_step, panel), strict=True)]
    title = _titled(panel)
    spec = _spec(by_step, steps, seconds, title)
    spec["description"] = f"{title}: {plural(len(steps), 'line')}"  # Vega makes it the label of the element
    name = f"chart-{number}"
    count = plural(len(steps), "line")
    about = f"{title}: {count}"
    metrics = list(dict.fromkeys(one.metric for one in steps))
    dashes = "".join(
        f'<li><svg width="26" height="8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" '
        f'stroke-dasharray="{" ".join(map(str, DASHES[i % len(DASHES)]))}"/></svg>{text(metric)}</li>'
        for i, metric in enumerate(metrics)
    )
    return Markup(
        f'<figure class="chart"><figcaption>{text(title)}</figcaption><ul class="dashes">{dashes}</ul>'
        f'<div class="plot" id="{name}" data-spec="{name}-spec" tabindex="0" role="application" '
        f'aria-label="{text(about)}"></div><output class="readout" for="{name}"></output>'
        f"{data(f'{name}-spec', spec)}</figure>"
    )


def _of(figure: Figure, panel: str) -> list[Series]:
    return [one for one in figure.series if one.panel == panel]


def _at_same(other: Series, thin: Series, full: Series) -> Any:
    """Return the seconds of the points that a thinned series has left."""
    from ..lazy import np

    return other.x[np.searchsorted(full.x, thin.x)]


def _spec(figure: Figure, steps: Sequence[Series], seconds: Sequence[Any], title: str) -> Json:
    rows: list[Sequence[Any]] = []
    for key, (one, time) in enumerate(zip(steps, seconds, strict=True)):
        count = len(one.x)
        columns = [rounded(values, count) for values in (one.x, time, one.y, one.low, one.high)]
        rows += zip([key] * count, *columns, strict=True)
    names = ("key", "step", "time", "y", "low", "high")
    labels, metrics = figure.labels, list(dict.fromkeys(one.metric for one in steps))
    series = [{"key": k, "label": one.label, "metric": one.metric} for k, one in enumerate(steps)]
    encoding: Json = {
        "x": {"field": "step", "type": "quantitative", "title": "step", "scale": {"zero": False, "nice": False}},
        "y": {"field": "y", "type": "quantitative", "title": None, "scale": scale_of(steps)},
        "color": {
            "field": "label",
            "type": "nominal",
            "scale": {"domain": labels, "range": [COLOURS[i % len(COLOURS)] for i in range(len(labels))]},
            "legend": None,
        },
        "detail": {"field": "key"},
    }
    dash = {
        "field": "metric",
        "type": "nominal",
        "scale": {"domain": metrics, "range": [list(DASHES[i % len(DASHES)]) for i in range(len(metrics))]},
        "legend": None,
    }
    layers: list[Json] = [{"mark": {"type": "line", "clip": True}, "encoding": {"strokeDash": dash}}]
    if any(one.low is not None for one in steps):
        ends = {"y": encoding["y"] | {"field": "low"}, "y2": {"field": "high"}}
        layers.insert(0, {"mark": {"type": "area", "opacity": 0.18, "clip": True}, "encoding": ends})
    if any(len(one.x) == 1 for one in steps):
        layers.append({"mark": {"type": "point", "filled": True, "size": 40}})
    spec = {
        "config": config("light", background=False),
        "width": "container",
        "height": HEIGHT - 40,
        "data": table(names, rows, dict.fromkeys(names, "number")),
        "transform": [
            {"lookup": "key", "from": {"data": {"values": series}, "key": "key", "fields": ["label", "metric"]}}
        ],
        "encoding": encoding,
        "layer": layers,
        "usermeta": {"series": series, "title": title},
    }
    return by_columns(spec)


def by_columns(spec: Json) -> Json:
    """Return a specification with its data as columns, of which the page's script makes rows.

    Vega's own parser of CSV compiles a function, which a page that runs no text as a program does not allow.
    """
    names, *rows = csv.reader(StringIO(spec["data"]["values"]))
    columns = [[number(cell) for cell in column] for column in zip(*rows, strict=True)]
    found = dict(zip(names, columns or [[] for _ in names], strict=True))
    return {**spec, "data": {"name": "points"}, "usermeta": {**spec.get("usermeta", {}), "columns": found}}


def number(cell: str) -> float | int | None:
    """Return the number of a cell; None for an empty one."""
    return None if not cell else int(cell) if cell.lstrip("-").isdigit() else float(cell)


def matrices(drawing: Drawing) -> list[Json]:
    """Return the confusion matrices of the groups as specifications, those that can be drawn."""
    found = confusion(drawing)
    return [by_columns(framed([matrix_panel(one)], "light")) for one in found.matrices]
