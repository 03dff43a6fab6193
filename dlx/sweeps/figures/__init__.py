"""Figures of a study in a folder, drawn without a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ...runs.folder import ARTIFACTS
from ...spec.sections.sweep_values import Dimension
from ..importance import dimensions_of
from ..seed_averages import is_replicate
from ..study import Study
from ..trial import Trial
from . import history, points
from .base import Picture, StudyView, styled, view_of

Form = Literal["png", "svg"]
FOLDER = f"{ARTIFACTS}/figures"
PICTURES: dict[str, Callable[[StudyView], Picture | None]] = {
    "history": history.history,
    "pareto": history.pareto,
    "importance": history.importance,
    "slices": points.slices,
    "contour": points.contour,
    "parallel": points.parallel,
}


def of_study(study: Study, folder: Path | None = None, form: Form = "png") -> list[Path]:
    """Draw a study, into `artifacts/figures/` of its folder or another one.

    Returns the files; none where no trial has finished.
    """
    dimensions = [one for one in dimensions_of(study.identity.get("space", {})) if not is_replicate(one.key)]
    if not dimensions:
        return []  # nothing but folds and seeds
    metric, rising = study.metrics[0], study.rising[0]
    return draw(study.points(), dimensions, metric, rising, folder or study.folder / FOLDER, form)


def draw(
    trials: Sequence[Trial],
    dimensions: Sequence[Dimension],
    metric: str,
    rising: bool,
    folder: Path,
    form: Form = "png",
) -> list[Path]:
    """Draw trials that vary in these dimensions; figures without content are left out. Returns the files."""
    about = view_of(trials, dimensions, metric, rising)
    if about is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with styled():
        for name, make in PICTURES.items():
            picture = make(about)
            if picture is not None:
                files.append(folder / f"{name}.{form}")
                picture.save(files[-1])
    return files


__all__ = ["FOLDER", "draw", "of_study"]
