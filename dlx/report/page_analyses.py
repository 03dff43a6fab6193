"""Analyses on a page: those that the spec of finished runs declares, with their pictures in the run's artifacts."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DlxError
from ..graph import trace_all
from ..graph.expect import format_value
from ..runs.folder import ARTIFACTS, RunFolder
from ..trained.difference import RunGroup
from .analysis_files import content_of
from .page_html import Markup, folded, paragraph, table, text
from .plot import Drawing
from .plot_values import experiment_of

if TYPE_CHECKING:
    from ..analysis.analyze import Analyzed

FOLDER = f"{ARTIFACTS}/figures"


def analyses(drawing: Drawing) -> list[Markup]:
    """Run the analyses that the specs of the groups declare; nothing where none does, or its runs go on."""
    return [part for group in drawing.groups for part in _of_group(group, several=len(drawing.groups) > 1)]


def _of_group(group: RunGroup, *, several: bool) -> Iterator[Markup]:
    experiment = experiment_of(group.runs[0])
    ended = [run for run in group.runs if (run.end() or {}).get("status") == "finished"]
    if not experiment.analyses or not ended:
        return
    yield from _of_runs(tuple(run.dir for run in ended), group.label if several else "")


@lru_cache(maxsize=64)
def _of_runs(folders: tuple[Path, ...], label: str) -> tuple[Markup, ...]:
    """Return what the analyses of finished runs show; a page that is written anew has them once."""
    return tuple(_made([RunFolder(folder) for folder in folders], label))


def _made(ended: list[RunFolder], label: str) -> Iterator[Markup]:
    from ..analysis import declared

    experiment = experiment_of(ended[0])
    for name, found in declared.of_run(ended, experiment.last_stage, trace_all(experiment)):
        title = f"{label}: {name}" if label else name
        if isinstance(found, DlxError):
            first = found.problems[0]
            yield paragraph(" ".join(filter(None, (f"{title}: {first.message}", first.hint))), "note")
        else:
            yield folded(title, _of_analysis(found, title, ended[0]), is_open=True)


def _of_analysis(found: Analyzed, title: str, run: RunFolder) -> Markup:
    """Return source, figures, notes and picture; picture and numbers are written to the artifacts of the run too."""
    result, source = found.result, type(found.analysis).source
    about = f"{found.kind}{f', {result.seeds} seeds' if result.seeds > 1 else ''}"
    inner = [paragraph(f"{about}. {source}" if source else about, "note")]
    if result.figures:
        rows = [[name, format_value(value)] for name, value in result.figures.items()]
        inner.append(table(["figure", ">value"], rows))
    inner += [paragraph(note, "note") for note in result.notes]
    if result.panels:
        picture = content_of(found, "svg")
        run.write_bytes(f"{FOLDER}/{found.name}.svg", picture)
        words = ", ".join(panel.title for panel in result.panels)
        address = f"data:image/svg+xml;base64,{b64encode(picture).decode()}"
        inner.append(
            Markup(f'<figure class="picture"><img src="{address}" alt="{text(f"{title}: {words}")}"></figure>')
        )
    run.write_bytes(f"{FOLDER}/{found.name}.json", f"{json.dumps(found.as_json(), allow_nan=False)}\n".encode())
    return Markup("\n".join(inner))
