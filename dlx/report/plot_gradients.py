"""Sizes of gradients and updates of each layer along the training, as runs have recorded them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..trained.inside import NothingToShowError
from ..training.update_scales import GRADIENT, UPDATE
from .plot_figure import Figure, Series, positive
from .plot_means import series_of, words
from .sheet import grouped

if TYPE_CHECKING:
    from .plot import Drawing

PANELS = {GRADIENT: "norm of the gradient", UPDATE: "norm of the update / norm of the weights"}
HOW = "Train with `train.log_gradients=true`."


def is_size(metric: str) -> bool:
    """Whether a point of the curve is the size of a gradient or an update of a layer."""
    return metric.startswith((GRADIENT, UPDATE))


def gradients(drawing: Drawing) -> Figure:
    """Draw a line a layer, the first ones dark. Errors: NothingToShowError where no run has recorded them."""
    labels, series = [group.label for group in drawing.groups], list[Series]()
    for beginning, panel in PANELS.items():
        for label, runs in drawing.curves.items():
            names = [name for name in dict.fromkeys(n for one in runs for n in one) if name.startswith(beginning)]
            for name in names:
                points = [one[name] for one in runs if name in one]
                layer = grouped(labels, label, name.removeprefix(beginning))
                series.append(series_of(layer, panel, panel, points, "step", "none"))
    lacking = [label for label, runs in drawing.curves.items() if not any(is_size(n) for one in runs for n in one)]
    if not series:
        raise NothingToShowError(f"{', '.join(lacking)} recorded no gradients", hint=HOW)
    drawing.notes += [f"{label} recorded no gradients. {HOW}" for label in lacking]
    found = Figure("gradients", "step", tuple(series), "log", drawing.options.x_scale, words("none", series))
    return positive(found, drawing.notes)
