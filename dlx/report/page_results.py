"""The results on a page: final metrics, searches, confusion matrices, the worst examples, claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, plural
from ..experiment import confusion_matrix
from ..runs.folder import RunFolder
from ..sweeps.study import Study
from ..utils.intervals import half_interval, mean_of
from .page_html import Markup, folded, image, joined, paragraph, table, text
from .plot import HOW, Drawing, confusion
from .plot_groups import study_of
from .plot_stages import StageEnd, ends_of
from .plot_values import experiment_of

if TYPE_CHECKING:
    from ..trained.evaluate import Evaluated

MOST_TRIALS = 20
MOST_COLUMNS = 8
"""Columns that a page has room for; more figures than these are rows."""
MOST_CELLS = 30
"""Classes of a confusion matrix that stands as a table beside its picture."""
MOST_BYTES = 1 << 19
"""Bytes of a picture that is taken into a page."""


def figure(value: float) -> str:
    return f"{value:.4g}"


def results(drawing: Drawing) -> list[Markup]:
    """Return a row for each group: the mean of each metric of held-out parts, with half of its 95 % interval."""
    each = drawing.values
    names = list(dict.fromkeys(name for runs in each.values() for one in runs for name in one if "/" in name))
    held = [name for name in names if name.startswith(("valid/", "test/"))] or names
    rows = []
    for group in drawing.groups:
        values = each[group.label]
        cells = [_mean([one[name] for one in values if name in one]) for name in held]
        counts = [f"{int(values[0][name]):,}" if name in values[0] else "" for name in ("params", "macs")]
        states = ", ".join(dict.fromkeys(run.status() for run in group.runs))
        rows.append([group.label, f"{len(group.runs)}", states, *cells, *counts])
    titles = ["runs", ">number", "status", *(f">{name}" for name in held), ">parameters", ">MACs"]
    several = any(len(group.runs) > 1 for group in drawing.groups)
    words = "Means over the runs, with half of the 95 % interval (Student's t)." if several else ""
    return [_narrow(titles, rows, words), *_stages(drawing), *_single_runs(drawing, held)]


def _stages(drawing: Drawing) -> list[Markup]:
    """Return the stages of each group that has some: updates, seconds and final metrics, means over the runs."""
    found = []
    for group in drawing.groups:
        ends: dict[str, list[StageEnd]] = {}
        for one in (one for run in group.runs for one in ends_of(run)):
            ends.setdefault(one.name, []).append(one)
        metrics = dict.fromkeys(name for same in ends.values() for one in same for name in one.metrics)
        held = [name for name in metrics if name.startswith(("valid/", "test/"))] or list(metrics)
        rows = [
            [name, f"{same[0].steps:,}", f"{mean_of([one.seconds for one in same]):.1f}"]
            + [_mean([one.metrics[metric] for one in same if metric in one.metrics]) for metric in held]
            for name, same in ends.items()
        ]
        titles = ["stage", ">steps", ">seconds", *(f">{name}" for name in held)]
        found += [_narrow(titles, rows, f"Stages of {group.label}, each at its end")] if rows else []
    return found


def _narrow(titles: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> Markup:
    """Return a table of runs that is no wider than a page: each is a column where it has more figures than runs."""
    if len(titles) <= MOST_COLUMNS or len(rows) >= len(titles):
        return table(titles, rows, caption, sortable=len(rows) > 2)
    names = [title.removeprefix(">") for title in titles]
    turned = [list(one) for one in zip(names, *rows, strict=True)]
    return table([turned[0][0], *(f">{label}" for label in turned[0][1:])], turned[1:], caption)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    half = half_interval(values)
    return figure(mean_of(values)) + (f" ± {half:.2g}" if half is not None else "")


def _single_runs(drawing: Drawing, names: Sequence[str]) -> list[Markup]:
    """Return each run by itself, folded, where a group has several."""
    rows = [
        [group.label, run.key, str(int(values.get("seed", 0))), *(_cell(values, name) for name in names)]
        for group in drawing.groups
        for run, values in zip(group.runs, drawing.values[group.label], strict=True)
        if len(group.runs) > 1
    ]
    titles = ["runs", "run", ">seed", *(f">{name}" for name in names)]
    return [folded("Run by run", table(titles, rows, sortable=True))] if rows else []


def _cell(values: dict[str, float], name: str) -> str:
    return figure(values[name]) if name in values else ""


# --- searches -------------------------------------------------------------------------------------------------------


def searches(names: Sequence[str], root: Path) -> list[Markup]:
    """Return the leaderboard and the figures of each study that is named."""
    folders = [study_of(name, root) for name in names]
    return [part for folder in folders if folder is not None for part in _search(folder)]


def _search(folder: Path) -> list[Markup]:
    from ..sweeps.figures import FOLDER, PICTURES
    from ..sweeps.figures.base import text as worded
    from ..sweeps.leaderboard import rank
    from ..utils.short_names import short_names

    study = Study.open(folder)
    metric, rising = study.metrics[0], study.rising[0]
    board = rank(study.points(), metric, rising)
    keys = list(dict.fromkeys(key for place in board for key in place.trial.point))
    names = short_names(keys)
    rows = [
        [
            place.label,
            str(place.trial.number),
            *(worded(place.trial.point[key]) if key in place.trial.point else "" for key in keys),
            figure(place.mean) + (f" ± {place.interval:.2g}" if place.interval else ""),
            f"{place.trial.params:,}",
            f"{place.trial.seconds:.1f}",
            place.trial.state,
        ]
        for place in board[:MOST_TRIALS]
    ]
    numbers = {key for key in keys if _are_numbers(place.trial.point.get(key) for place in board)}
    varied = [f">{names[key]}" if key in numbers else names[key] for key in keys]
    titles = [">place", ">trial", *varied, f">{metric}", ">parameters", ">s", "state"]
    left = f" The first {MOST_TRIALS} of {plural(len(board), 'trial')}." if len(board) > MOST_TRIALS else ""
    way = "higher" if rising else "lower"
    words = f"{folder.name}: {plural(len(study.trials), 'trial')}; {way} is better.{left}"
    paths = [folder / FOLDER / f"{name}.png" for name in PICTURES]
    pictures = [_picture(path, path.stem) for path in paths if path.is_file()]
    hint = [] if pictures else [paragraph("`dlx sweep --figures` draws what a search showed.", "note")]
    return [table(titles, rows, words), Markup(f'<div class="pictures">{joined(pictures)}</div>'), *hint]


def _are_numbers(values: Iterable[object]) -> bool:
    """Whether all values are numbers, those aside that a trial does not have."""
    return all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)


def _picture(path: Path, about: str) -> Markup:
    content = path.read_bytes()
    if len(content) > MOST_BYTES:
        return paragraph(f"{path} has {len(content):,} bytes, and is left out.", "note")
    return image(content, about)


# --- confusion matrices and mistakes --------------------------------------------------------------------------------


def has_matrices(drawing: Drawing) -> bool:
    """Whether a run has recorded a confusion matrix."""
    return any((run.dir / confusion_matrix.FILE).exists() for group in drawing.groups for run in group.runs)


def matrix_tables(drawing: Drawing) -> list[Markup]:
    """Return the counts as tables, folded, for whoever cannot see the pictures."""
    found = []
    for one in confusion(drawing).matrices:
        if len(one.classes) <= MOST_CELLS:
            rows = [[name, *row] for name, row in zip(one.classes, one.counts, strict=True)]
            titles = ["target \\ predicted", *(f">{name}" for name in one.classes)]
            found.append(folded(f"Counts of {one.label}, {one.part}", table(titles, rows)))
    return found


def mistakes(drawing: Drawing, count: int) -> list[Markup]:
    """Return the worst examples of the first run of each group, with their pictures where they are pictures."""
    learning = [group for group in drawing.groups if _learns_targets(group.runs[0])]
    if not learning:
        return []
    if not count:
        words = "`dlx report --mistakes 8` measures each network anew, and shows the examples with the largest loss."
        return [paragraph(words, "note")]
    return [part for group in learning for part in _mistakes(group.label, group.runs[0], count)]


def _learns_targets(run: RunFolder) -> bool:
    """Whether the examples of a run have losses of their own: those of an objective with phases have none."""
    from ..objectives import Supervised

    objective = experiment_of(run).last_stage.objective
    return objective is None or isinstance(objective, Supervised)


def _mistakes(label: str, run: RunFolder, count: int) -> list[Markup]:
    try:
        found, pictures = _measured(run, count)
    except DlxError as error:
        return [paragraph(f"{label}: {error.problems[0].message}", "note")]
    titles, rows = found.table()
    cells = [[figure(cell) if isinstance(cell, float) else cell for cell in row] for row in rows]
    about = f"The {count} worst examples of {run.key}, the largest loss first"
    listed = table(titles, cells, about)
    return [image(pictures, about), folded("As a table", listed)] if pictures else [listed]


def _measured(run: RunFolder, count: int) -> tuple[Evaluated, bytes]:
    """Return the worst examples with a sheet of their pictures; without one where the inputs are no pictures."""
    from ..trained.closer import Closer
    from ..trained.evaluate import evaluate

    try:
        found = evaluate([run], closer=Closer(count, pictures=True))
    except DlxError as error:
        if "`--png`" not in error.problems[0].message:
            raise
        return evaluate([run], closer=Closer(count)), b""
    with TemporaryDirectory() as folder:
        sheet = Path(folder) / "worst.png"
        found.write_pictures(sheet)
        return found, sheet.read_bytes()


# --- claims ---------------------------------------------------------------------------------------------------------


def receipts(drawing: Drawing) -> list[Markup]:
    """Return the claims of the specs, with what came out."""
    from .. import graph
    from ..graph import expect

    found = []
    for group in drawing.groups:
        run = group.runs[0]
        experiment = experiment_of(run)
        each: list[Any] = []
        if any(True for _ in expect.claims(experiment)):
            metrics = (run.end() or {}).get("metrics", {})
            later = {r.claim.path: r for r in expect.of_results(experiment, metrics)} if metrics else {}
            known = expect.receipts(experiment, graph.trace_all(experiment))
            each = [later.get(r.claim.path, r) for r in known if r.claim.is_receipt]
        if each:
            rows = [
                [r.claim.title, r.claim.source, expect.format_claim(r.claim), _value(r.ours), _verdict(r.verdict)]
                for r in each
            ]
            found.append(table(["claim", "source", "claimed", ">here", "verdict"], rows, group.label))
    return found


def _value(value: Any) -> str:
    from ..graph.expect import format_value

    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    return format_value(value)


def _verdict(verdict: str) -> Markup:
    return Markup(f'<span class="{text(verdict.partition(" ")[0])}">{text(verdict)}</span>')


__all__ = ["HOW", "has_matrices", "matrix_tables", "mistakes", "receipts", "results", "searches"]
