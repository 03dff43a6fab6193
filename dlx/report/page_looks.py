"""Looks inside networks on a page: filters, feature maps, attention, receptive fields, calibration."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from ..trained.inside import NothingToShowError
from . import looks
from .charts import curve_panel, framed
from .page_curves import by_columns
from .page_html import Markup, chart, folded, joined, paragraph, text
from .plot import Drawing
from .plot_calibration import Reliability, reliability, reliability_panel
from .plot_gradients import gradients
from .sheet import Sheet

POINTS = 300
"""Points of a line at most."""
MOST_BYTES = 600_000
"""Bytes of a sheet that is taken into a page."""
HOW = (
    "`dlx report --inside` calls the networks anew: filters, feature maps, attention, receptive fields, calibration."
)


def inside(drawing: Drawing, asked: bool) -> list[Markup]:
    """Return what there is to see of the first run of each group; the way to see it, where it is not asked."""
    if not asked:
        return [paragraph(HOW, "note")]
    found = []
    makers: dict[str, Callable[[Drawing], Sheet | Reliability]] = {
        "calibration": reliability,
        "filters": looks.filters,
        "features": looks.features,
        "attention": looks.attention,
        "fields": looks.fields,
    }
    for kind, make in makers.items():
        own = Drawing(drawing.groups, drawing.options, insides=drawing.insides, loads=drawing.loads)
        try:
            shown = make(own)
        except NothingToShowError:
            continue  # a network without attention lacks nothing
        found.append(_diagrams(shown) if isinstance(shown, Reliability) else _sheet(shown, kind))
    return found or [paragraph("Nothing of these networks can be shown as a picture.", "note")]


def sizes(drawing: Drawing) -> list[Markup]:
    """Return the sizes of gradients and updates by layer; nothing where no run has recorded them."""
    try:
        found = gradients(drawing)
    except NothingToShowError:
        return []
    thin = found.thinned(POINTS)
    specs = [by_columns(framed([curve_panel(thin, panel)], "light")) for panel in thin.panels]
    charts = [
        chart(f"sizes-{i}", panel, spec) for i, (panel, spec) in enumerate(zip(thin.panels, specs, strict=True))
    ]
    return [Markup(f'<div class="matrices">{joined(charts)}</div>')]


def _sheet(sheet: Sheet, kind: str) -> Markup:
    picture = sheet.picture(titled=False).text.encode()
    if len(picture) > MOST_BYTES:
        return paragraph(f"{sheet.title}: too large for a page; `dlx plot --kind {kind}` draws them.", "note")
    about = "; ".join(f"{row.heading}, {len(row.tiles)} pictures" for row in sheet.rows)
    source = f"data:image/svg+xml;base64,{b64encode(picture).decode()}"
    figure = Markup(
        f'<figure class="picture sheet"><img src="{source}" alt="{text(f"{sheet.title}: {about}")}"></figure>'
    )
    return folded(sheet.title, figure, is_open=True)


def _diagrams(shown: Reliability) -> Markup:
    charts = [
        chart(
            f"calibration-{i}",
            f"Calibration of {label}",
            by_columns(framed([reliability_panel(label, one)], "light")),
        )
        for i, (label, one) in enumerate(shown.diagrams)
    ]
    return folded("Calibration", Markup(f'<div class="matrices">{joined(charts)}</div>'), is_open=True)
