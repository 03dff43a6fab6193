"""Colours and sizes of all charts, as a configuration of Vega-Lite."""

from __future__ import annotations

from typing import Any, Literal

Theme = Literal["light", "dark"]
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f6aa8",
    "#8c7b00",
    "#7d7d7d",
    "#a8474b",
)
"""Told apart by colour-blind eyes too, the first six those of Okabe and Ito 2008 without black and yellow."""
DASHES = ((1, 0), (5, 3), (1.5, 2.5), (8, 3, 2, 3), (3, 3), (10, 4))
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
INK: dict[Theme, dict[str, str]] = {
    "light": {"background": "#ffffff", "text": "#1f2933", "faint": "#52606d", "grid": "#e4e7eb", "line": "#9aa5b1"},
    "dark": {"background": "#15191e", "text": "#e8ebef", "faint": "#aab4bf", "grid": "#2b323a", "line": "#66707c"},
}
WIDTH, HEIGHT = 380, 230
"""Size of a panel in pixels, without its axes."""
MOST_LABELLED = 30
"""Classes of a confusion matrix whose counts are written into their cells."""


def config(theme: Theme = "light", background: bool = True) -> dict[str, Any]:
    """Return the configuration of a theme."""
    ink = INK[theme]
    axis = {
        "labelColor": ink["faint"],
        "titleColor": ink["text"],
        "gridColor": ink["grid"],
        "domainColor": ink["line"],
        "tickColor": ink["line"],
        "titleFontWeight": "normal",
        "titleFontSize": 12,
        "labelFontSize": 11,
        "titlePadding": 8,
        "tickSize": 4,
    }
    return {
        "font": FONT,
        "background": ink["background"] if background else "transparent",
        "padding": 12,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False, "tickCount": 6},
        "axisY": {"domain": False, "ticks": False, "tickCount": 6},
        "legend": {
            "labelColor": ink["text"],
            "titleColor": ink["faint"],
            "titleFontWeight": "normal",
            "labelFontSize": 12,
            "titleFontSize": 11,
            "labelLimit": 420,
            "symbolStrokeWidth": 2.5,
            "symbolOpacity": 1,
            "symbolSize": 160,
            "orient": "bottom",
            "direction": "vertical",
            "columnPadding": 18,
        },
        "title": {"color": ink["text"], "anchor": "start", "fontWeight": 600, "fontSize": 13, "offset": 8},
        "range": {"category": list(COLOURS)},
        "line": {"strokeWidth": 1.8, "strokeJoin": "round"},
        "concat": {"spacing": 28},
    }
