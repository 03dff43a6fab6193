"""`dlx.analyze`: the experiments of the books on a spec or on runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..analysis import analyze as analyses
from ..analysis.analyze import Analyzed
from ..analysis.subject import FINAL, Subject, of_runs, of_spec
from ..errors import DlxError
from ..report import analysis_files
from ..runs import lookup
from ..runs.folder import RunFolder
from ..show import html
from ..spec import Experiment, from_python
from . import frames
from .arguments import AnyRun, Overrides, Spec, experiment_of, override_texts, run_folder
from .isolation import TURN, isolated
from .run import Run

if TYPE_CHECKING:
    from pandas import DataFrame


class AnalysisResult(Analyzed):
    """What an analysis found: `figures` by name, a table as `frame`, `result.panels` with arrays, and a picture."""

    @property
    def figures(self) -> dict[str, float | int | bool]:
        """The numbers that claims name, `analysis/NAME/FIGURE`."""
        return dict(self.result.figures)

    @property
    def frame(self) -> DataFrame:
        """The table of the analysis; its columns are those of `dlx analyze --out FILE.csv`."""
        return frames.table(*self.result.table)

    def save(self, path: str | os.PathLike[str], theme: Literal["light", "dark"] = "light") -> None:
        """Write a picture (.svg, .png, .pdf), the table (.csv) or all of it (.json). DlxError for another suffix."""
        where = Path(path)
        analysis_files.write(self, where, analysis_files.format_of(where), theme)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        return f"<dlx.AnalysisResult {self.name} of {self.subject.name}: {numbers}>"

    def _repr_html_(self) -> str:
        rows = html.figures(self.figures).items()
        numbers = html.table(("figure", ">value"), rows, f"{self.name} of {self.subject.name}", self.result.notes)
        return numbers + (analysis_files.content_of(self, "svg").decode() if self.result.panels else "")


def analyze(
    kind: str,
    of: Spec | AnyRun | Sequence[AnyRun],
    overrides: Overrides = (),
    *,
    options: Mapping[str, Any] | Sequence[str] = (),
    checkpoint: str = "",
    runs: str | os.PathLike[str] = "runs",
) -> AnalysisResult:
    """Look at a network as `dlx analyze` does; `kind` may be the name of one of the spec's `analyses`.

    `of` is a spec, which is looked at with the weights that training begins with, or a run or several of them.
    `overrides` change a spec, `options` are those of the kind: `{"seeds": 3}`. DlxError or SpecError where the kind
    does not fit the network, its data or the runs.

    Example: dlx.analyze("activation_scale", "udl/residual-54", options={"seeds": 3}).figures
    """
    with TURN:
        subject = _subject(of, overrides, checkpoint, Path(runs))
        name, analysis = analyses.chosen(kind, override_texts(options), subject)
        with isolated():
            found = analyses.analyze(analysis, subject, name)
    return AnalysisResult(found.name, found.analysis, found.subject, found.result)


def _subject(of: Any, overrides: Overrides, checkpoint: str, root: Path) -> Subject:
    several = isinstance(of, list | tuple)
    if several or isinstance(of, Run) or _names_run(of):
        if override_texts(overrides):
            hint = "`options` are those of the analysis; `overrides` are for a spec."
            raise DlxError("a run's spec stays what it was trained with", hint=hint)
        return of_runs(_folders(list(of) if several else [of], root), checkpoint or FINAL)
    if checkpoint:
        raise DlxError("`checkpoint` is of runs, and this is a spec", hint="Leave it out.")
    return of_spec(lookup.with_source(experiment_of(of, overrides), root))


def _names_run(of: Any) -> bool:
    """Whether a text or path names a run: it is no spec, and no file of one."""
    if isinstance(of, Experiment | Mapping) or (isinstance(of, str) and from_python.is_text(of)):
        return False
    return isinstance(of, str | os.PathLike) and not analyses.is_spec(os.fspath(of))


def _folders(of: Sequence[AnyRun], root: Path) -> list[RunFolder]:
    if not of:
        raise DlxError("there is nothing to look at", hint="Give a spec, or runs.")
    return [run_folder(one, root) for one in of]
