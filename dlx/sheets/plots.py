"""Points in the plane and values on a line, with the data beside them. matplotlib without its global state."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..lazy import np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE, DOTS = 4.0, 100
"""Inches of a side of a plot, and dots an inch."""
MADE, DATA = "#d1495b", "#9aa5b1"
BINS = 60


@contextmanager
def _axes(packed: BytesIO) -> Iterator[Axes]:
    """Give axes to draw on, and write the figure as PNG behind it, without a time stamp."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's are not for the user of dlx
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
        FigureCanvasAgg(figure)  # pyplot holds figures in a global list, and may want a screen
        yield figure.subplots()
        figure.savefig(packed, format="png", dpi=DOTS, metadata={"Software": None})


def scatter(values: Any, classes: Any = None, real: Any = None) -> bytes:
    """Return points (n, 2), coloured by their class (n,) where they have one, among examples (N, 2), as PNG."""
    packed = BytesIO()
    with _axes(packed) as axes:
        if real is not None:
            axes.scatter(real[:, 0], real[:, 1], s=6, c=DATA, linewidths=0, label="data")
        colours: dict[str, Any] = {"c": MADE} if classes is None else {"c": classes, "cmap": "tab10"}
        axes.scatter(values[:, 0], values[:, 1], s=6, linewidths=0, label="samples", **colours)
        axes.set_aspect("equal", adjustable="datalim")
        if classes is None and real is not None:
            axes.legend(loc="upper right", fontsize=8, frameon=False)
    return packed.getvalue()


def histogram(values: Any, real: Any = None) -> bytes:
    """Return the density of values (n,), and of examples (N,) beside it, as PNG."""
    packed = BytesIO()
    both = values if real is None else np.concatenate([values, real.reshape(-1)])
    edges: Any = np.histogram_bin_edges(both, BINS)
    with _axes(packed) as axes:
        if real is not None:
            axes.hist(real.reshape(-1), edges, density=True, color=DATA, label="data")
        axes.hist(values, edges, density=True, histtype="step", color=MADE, label="samples")
        axes.legend(loc="upper right", fontsize=8, frameon=False)
    return packed.getvalue()
