"""The report of `dlx doctor`: a row for each check, then each finding with its place and hint."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .console import TextTable, document, out

if TYPE_CHECKING:
    from ..analysis.doctor.check import CheckRow
    from ..analysis.doctor.diagnosis import Report

STYLES = {"wrong": "red", "look": "yellow"}


def diagnosis(report: Report, as_json: bool = False) -> None:
    """Print the table of checks and the findings, those that are wrong first."""
    if as_json:
        document(report.as_json())
        return
    out(f"{report.name}  ({report.path})", "bold")
    grid = TextTable("check", "verdict", "figure", "expected", styles=["cyan"], spare=("expected",))
    for row in report.checks:
        grid.add(row.check, row.outcome.verdict, row.outcome.figure, row.outcome.expected)
    grid.print()
    found = [row for verdict in STYLES for row in report.checks if row.outcome.verdict == verdict]
    for row in found:
        _finding(row)
    tally = Counter(row.outcome.verdict for row in report.checks)
    parts = ", ".join(
        f"{tally[verdict]} {verdict}" for verdict in ("wrong", "look", "ok", "not run") if tally[verdict]
    )
    out()
    out(f"{len(report.checks)} checks: {parts}", "bold")


def _finding(row: CheckRow) -> None:
    one = row.outcome
    out()
    out(f"{one.mark}  {row.check}: {one.verdict}" if one.mark else f"{row.check}: {one.verdict}", "bold")
    out(f"  {one.finding}", STYLES[one.verdict])
    if one.hint:
        out(f"  {one.hint}")
