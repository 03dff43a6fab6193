"""Maps of values over a grid: a picture in memory as an image mark of Vega-Lite, its legend, and contours."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..analysis.result import Heat, Panel
from ..data.images import png
from ..lazy import np
from .charts_data import table
from .charts_style import COLOURS, WIDTH
from .plot_figure import rounded

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Json = dict[str, Any]
VIRIDIS: Final = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
PIXELS: Final = 760
"""Pixels of a side of the picture at least: each value is a square with sharp edges."""
NAMED: Final = 24
"""Ticks of an axis of layers or classes at most, of more every second or third."""
LEVELS: Final = 14
"""Contours of a map."""
PALE: Final = 0.55
"""Share of white in the colours of classes, over which points are drawn."""


def axes(panel: Panel) -> tuple[Json, Json]:
    """Return the axes of a panel with a map: they end where its outermost cells end."""
    heat = next(one for one in panel.marks if isinstance(one, Heat))
    ends = [_ends(heat.x, panel.x_scale), _ends(heat.y, panel.y_scale)]
    kinds = {"linear": {}, "log": {"type": "log"}}
    (x, y) = (
        {
            "type": "quantitative",
            "title": title or None,
            "scale": {"domain": list(end), "nice": False, **kinds[scale]},
        }
        for title, end, scale in zip((panel.x, panel.y), ends, (panel.x_scale, panel.y_scale), strict=True)
    )
    ways: list[Json] = [_ticks(heat.x, heat.x_names), {"grid": False, **_ticks(heat.y, heat.y_names)}]
    if len(heat.x_names) and max(map(len, heat.x_names)) > 3:
        ways[0]["labelAngle"] = -35
    return x | ({"axis": ways[0]} if ways[0] else {}), y | {"axis": ways[1]}


def _ticks(values: Any, names: Sequence[str]) -> Json:
    """Return the ticks of an axis of numbered cells: whole numbers, or the names of few."""
    at = np.asarray(values)
    if at.dtype.kind not in "iu":
        return {}
    if not len(names):
        return {"tickMinStep": 1, "format": "d"} if len(at) > NAMED else {"values": at.tolist(), "format": "d"}
    every = range(0, len(at), -(-len(at) // NAMED))
    named = {str(int(at[i])): str(names[i]) for i in every}
    return {"values": [int(at[i]) for i in every], "labelExpr": f"({json.dumps(named)})[datum.value]"}


def _ends(values: Any, scale: str) -> tuple[float, float]:
    """Return the outer edges of the first and the last cell."""
    at = np.asarray(values, float)
    at = np.log(at) if scale == "log" else at
    half = (at[-1] - at[0]) / max(len(at) - 1, 1) / 2 or 0.5
    low, high = float(at[0] - half), float(at[-1] + half)
    return (float(np.exp(low)), float(np.exp(high))) if scale == "log" else (low, high)


def layers(heat: Heat, panel: Panel) -> list[Json]:
    """Return the picture, an invisible mark that brings its legend, and the contours."""
    x, y = axes(panel)
    address = b64encode(
        png.encoded(np.repeat(np.repeat(_painted(heat), *_times(heat, 0)), *_times(heat, 1)))
    ).decode()
    middle = {"x": {"value": WIDTH / 2}, "y": {"value": WIDTH / 2}}
    mark = {
        "type": "image",
        "width": WIDTH,
        "height": WIDTH,
        "aspect": False,
        "url": f"data:image/png;base64,{address}",
    }
    picture: Json = {"data": {"values": [{}]}, "mark": mark, "encoding": middle}
    legend: Json = {
        "data": {"values": _shown(heat)},
        "mark": {"type": "point", "opacity": 0, "filled": True},
        "encoding": {"x": x | {"field": "x"}, "y": y | {"field": "y"}, "color": _legend(heat)},
    }
    return [picture, legend, *(_contours(heat, x, y) if heat.contours else [])]


def _times(heat: Heat, along: int) -> tuple[int, int]:
    return max(1, -(-PIXELS // heat.values.shape[along])), along


def _painted(heat: Heat) -> Array:
    """Return a map as colours (height, width, 3), its first row at the bottom; what is not finite is grey."""
    values = np.asarray(heat.values)[::-1]
    if heat.classes is not None:
        palette = np.array([_rgb(COLOURS[i % len(COLOURS)]) for i in range(len(COLOURS))])
        pale = palette + (255 - palette) * PALE
        return np.asarray(np.round(pale[values.astype(int) % len(COLOURS)]), dtype=np.uint8)
    low, high = _range(heat)
    share = (_scaled(values, heat) - low) / ((high - low) or 1.0)
    stops = np.linspace(0, 1, len(VIRIDIS))
    table_ = np.array([_rgb(one) for one in VIRIDIS])
    made = np.stack([np.interp(np.nan_to_num(share), stops, table_[:, i]) for i in range(3)], -1)
    made = np.where(np.isfinite(share)[..., None], made, 160.0)
    return np.asarray(np.round(made), dtype=np.uint8)


def _scaled(values: Array, heat: Heat) -> Array:
    if heat.scale == "linear":
        return np.asarray(values, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(values > 0, np.log(values), np.nan), float)


def _range(heat: Heat) -> tuple[float, float]:
    values = _scaled(np.asarray(heat.values if heat.limits is None else heat.limits), heat)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _shown(heat: Heat) -> list[Json]:
    """Return the ends of the values, or the classes, as data of the legend."""
    at = {"x": float(np.asarray(heat.x, float)[0]), "y": float(np.asarray(heat.y, float)[0])}
    if heat.classes is not None:
        return [{**at, "v": name} for name in heat.classes]
    return [{**at, "v": float(np.exp(v) if heat.scale == "log" else v)} for v in _range(heat)]


def _legend(heat: Heat) -> Json:
    """Return the colours: of classes by name, of values along a bar."""
    if heat.classes is not None:
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(heat.classes))]
        legend = {"title": heat.label or None, "symbolType": "square", "symbolOpacity": 1 - PALE, "columns": 4}
        legend["direction"] = "horizontal"  # in columns Vega mixes up a short last one
        few = legend if len(heat.classes) <= 2 * len(COLOURS) else None
        return {
            "field": "v",
            "type": "nominal",
            "scale": {"domain": list(heat.classes), "range": colours},
            "legend": few,
        }
    scale = {"range": list(VIRIDIS), "interpolate": "rgb", "domain": [one["v"] for one in _shown(heat)]}
    if heat.scale == "log":
        scale["type"] = "log"
    legend = {"title": heat.label or None, "orient": "right", "gradientLength": WIDTH - 60, "direction": "vertical"}
    return {"field": "v", "type": "quantitative", "scale": scale, "legend": legend}


def _contours(heat: Heat, x: Json, y: Json) -> list[Json]:
    """Return lines of equal value; between classes, their boundaries."""
    from contourpy import contour_generator

    along, up = np.asarray(heat.x, float), np.asarray(heat.y, float)
    if heat.classes is not None:
        sheets = [(np.where(np.asarray(heat.values) == i, 1.0, 0.0), [0.5]) for i in range(len(heat.classes))]
    else:
        low, high = _range(heat)
        sheets = [(_scaled(np.asarray(heat.values), heat), list(np.linspace(low, high, LEVELS + 2)[1:-1]))]
    rows, number = list[list[Any]](), 0
    for values, levels in sheets:
        made = contour_generator(along, up, np.ma.masked_invalid(values))
        for line in (line for level in levels for line in made.lines(level)):
            points: Array = np.asarray(line)
            columns = [rounded(points[:, i], len(points)) for i in (0, 1)]
            rows += [[number, i, *pair] for i, pair in enumerate(zip(*columns, strict=True))]
            number += 1
    data = table(("key", "i", "x", "y"), rows, dict.fromkeys(("i", "x", "y"), "number"))
    mark = {"type": "line", "strokeWidth": 0.8, "color": "#ffffff", "opacity": 0.75, "clip": True}
    at = {"x": x | {"field": "x"}, "y": y | {"field": "y"}, "detail": {"field": "key"}, "order": {"field": "i"}}
    return [{"data": data, "mark": mark, "encoding": at}]
