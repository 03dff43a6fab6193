"""Differences between the results of several specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import forms
from .console import TextTable, document, out
from .forms import Number

if TYPE_CHECKING:
    from ..trained.difference import Comparison


def comparisons(found: Sequence[Comparison], form: forms.Form) -> None:
    """Print a table for each comparison with the first group of runs; as CSV one of all; or the document."""
    first = found[0].first
    if form == "json":
        document({"first": first.as_json(), "others": [one.as_json() for one in found]})
        return
    with forms.printed_as(form):
        if form == "csv":
            _all_in_one(found).print()
            return
        for one in found:
            _one(one)
            if one is not found[-1]:
                out()


def _one(one: Comparison) -> None:
    first = one.first
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


def _all_in_one(found: Sequence[Comparison]) -> TextTable:
    """Return all comparisons as one table, a row for each metric, under the names of the document."""
    titles = ("first", "second", "metric", "first_value", "second_value", "difference", "interval95", "verdict")
    grid = TextTable(*titles, "paired", "pairs")
    for one in found:
        for metric in one.metrics:
            values = (metric.first, metric.second, metric.mean, metric.interval)
            names = one.first.label, one.second.label, metric.metric
            paired = str(one.is_paired).lower(), str(len(one.pairs))
            grid.add(*names, *(Number("", value) for value in values), metric.verdict, *paired)
    return grid
