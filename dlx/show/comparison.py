"""Differences between the results of several specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .console import TextTable, document, out

if TYPE_CHECKING:
    from ..trained.difference import Comparison


def comparisons(found: Sequence[Comparison], as_json: bool) -> None:
    """Print a table for each comparison with the first group of runs; or the document."""
    first = found[0].first
    if as_json:
        document({"first": first.as_json(), "others": [one.as_json() for one in found]})
        return
    for one in found:
        grid = TextTable("metric", f">{first.label}", f">{one.second.label}", ">difference", ">± 95 %", "")
        for metric in one.metrics:
            half = "" if metric.interval is None else f"{metric.interval:.2g}"
            figures = [f"{metric.first:.4g}", f"{metric.second:.4g}", f"{metric.mean:+.2g}", half, metric.verdict]
            grid.add(metric.metric, *figures)
        if one.metrics:
            grid.print()
        for group in (first, one.second):
            out(f"{group.label}: {group.description}")
        out(one.remark)
        if one is not found[-1]:
            out()
