"""What pictures of runs there are, and what stands about a mean: words alone, which the command line names too."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "curve",
    "bar",
    "scatter",
    "parallel",
    "confusion",
    "calibration",
    "gradients",
    "filters",
    "features",
    "attention",
    "fields",
    "samples",
]
Band = Literal["auto", "interval", "deviation", "range", "none"]
