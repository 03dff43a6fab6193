"""Metrics of networks one by one and as an ensemble, and their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import shortened
from . import several
from .console import TextTable, document, out, say
from .several import FIRST, MANY

if TYPE_CHECKING:
    from ..experiment.runner import Results
    from ..trained.evaluate import Evaluated
    from ..trained.predict import Predicted
    from ..trained.slices import Slice

HELD_OUT = ("valid/", "test/")
CLASSES = 12
"""Most classes whose probabilities have a column each; of more only that of the predicted class is shown."""
LONGEST = 30
"""Characters of a name that a title shows."""
MOST = 20
"""Rows of predictions that are printed."""


def side_by_side(rows: Sequence[tuple[str, Mapping[str, float]]], ensemble: Mapping[str, float], how: str) -> None:
    """Print a row for each member, of many for the first, one for their mean and one for the ensemble, with a column
    for each metric.
    """
    names = [name for name in rows[0][1] if all(name in metrics for _, metrics in rows)]
    held_out = [name for name in names if name.startswith(HELD_OUT)] or names
    columns = [name for name in held_out if "/ensemble_" not in name]
    grid = TextTable("", *(f">{name}" for name in columns), styles=["bold"])
    for title, metrics in rows[: FIRST if len(rows) > MANY else len(rows)]:
        grid.add(title, *(f"{metrics[name]:.4g}" for name in columns))
    if len(rows) > MANY:
        grid.add(f"... and {len(rows) - FIRST:,} more", *("" for _ in columns))
    grid.add("mean", *(f"{sum(metrics[name] for _, metrics in rows) / len(rows):.4g}" for name in columns))
    combined = [ensemble.get(name.replace("/", "/ensemble_", 1)) for name in columns]
    grid.add(how, *("" if value is None else f"{value:.4g}" for value in combined))
    grid.print()


def members(found: Results) -> None:
    """Print the result of training an ensemble."""
    assert found.together is not None
    rows = [(f"seed {result.seed}", result.metrics) for result in found.results]
    side_by_side(rows, found.together.metrics, found.combine)
    seconds = sum(result.seconds for result in found.results)
    out(f"trained {len(found.results)} networks, {found.together.steps:,} steps in {seconds:.1f} s")
    out(f"run     {found.together.run.dir}")
    for line in several.lines(found.results, "member"):
        out(line)


def evaluation(found: Evaluated, as_json: bool, output: Path | None = None, png: Path | None = None) -> None:
    """Print the output of `dlx evaluate`; write the examples or slices to `output`, and pictures to `png`."""
    if output is not None:
        found.write(output)
        say(f"{len(found.table()[1]):,} rows are written to {output}.")
    if png is not None:
        found.write_pictures(png)
        say(f"{sum(map(len, found.wrong)):,} pictures are written to {png}.")
    if as_json:
        document(found.as_json())
        return
    if len(found.members) > 1:
        rows = [(one.run.key, one.metrics) for one in found.members]
        side_by_side(rows, found.metrics, str(found.combine))
    else:
        grid = TextTable(columns=2, styles=["bold"])
        for name, value in found.metrics.items():
            grid.add(name, f"{value:.4g}")
        grid.print()
    for note in found.notes:
        out(note)
    if output is None:
        for one in found.wrong:
            out(f"\n{' '.join(filter(None, (one.part, one.head)))}: the {len(one):,} worst examples")
            _grid(*one.table())
        if found.by is not None:
            out(f"\nby {found.by}")
            _grid(*sliced_with_intervals(found.by, found.slices))


def _grid(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    texts = [all(isinstance(row[i], str | None) for row in rows) for i in range(len(titles))]
    grid = TextTable(*(title if text else f">{title}" for title, text in zip(titles, texts, strict=True)))
    for row in rows:
        grid.add(*("" if value is None else _cell(value) for value in row))
    grid.print()


def sliced_with_intervals(name: str, slices: Sequence[Slice]) -> tuple[list[str], list[list[Any]]]:
    """Return the titles and the rows of slices, with the two ends of an interval in one column."""
    from ..trained.slices import slice_table

    titles, rows = slice_table(name, slices)
    places = [i for i, title in enumerate(titles) if title.endswith(" low") and f"{title[:-4]} high" in titles]
    for i in reversed(places):
        titles[i : i + 2] = ["95 %"]
        for row in rows:
            low, high = row[i : i + 2]
            row[i : i + 2] = [None if low is None else f"{low:.4g} to {high:.4g}"]
    return titles, rows


def predictions(found: Predicted, as_json: bool, output: Path | None) -> None:
    """Print the output of `dlx predict`, or write it to the file or folder `output`."""
    if output is not None:
        found.write(output)
        say(f"{len(found):,} answers are written to {output}.")
    if as_json:
        document(found.as_json())
    elif output is None:
        _table(found)
    for note in found.notes:
        say(note)


def _table(found: Predicted) -> None:
    from ..trained.answers import Boxes, Classes, Values

    answers = found.answers
    if not found.in_rows:
        pictures = " `--output FOLDER` as pictures." if isinstance(answers, Classes) else ""
        say(f"{len(found):,} answers of several positions each: `--output FILE.npz` writes them.{pictures}")
        return
    titles, lines = found.rows()
    words = 1 + len(found.columns) + (not isinstance(answers, Values))
    many = "probabilities" in found.arrays and len(found.labels) > CLASSES
    if many:
        titles, lines = [*titles[:words], "p"], [[*line[:words], max(line[words:])] for line in lines]
    grid = TextTable(*titles[:words], *(f">{shortened(title, LONGEST)}" for title in titles[words:]))
    for line in lines[:MOST]:
        grid.add(*map(_cell, line))
    grid.print()
    if many:
        say(f"The probabilities of all {len(found.labels):,} classes: `--output FILE.csv` writes them.")
    if isinstance(answers, Boxes):
        say(f"{len(lines):,} {answers.note}.")
    if (more := len(lines) - MOST) > 0:
        say(f"{more:,} more: `--output FILE.csv` writes all of them.")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
