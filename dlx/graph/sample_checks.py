"""Checks of `train.samples` against the objective: what makes texts, and what makes pictures. No torch."""

from __future__ import annotations

from ..errors import Problem
from ..objectives import Objective
from ..spec import Experiment
from ..spec.sections.samples import OF_TEXTS


def sample_problems(experiment: Experiment, objective: Objective) -> list[Problem]:
    """Return the problems where samples are asked for of what makes none, or fields of texts of what makes others."""
    if experiment.train is None or (asked := experiment.train.samples) is None:
        return []
    from ..data.text.text import Text
    from ..objectives.language import Language

    place, path = experiment.place("train", "samples"), "train.samples"
    if objective.makes_samples:
        wrong = [name for name in OF_TEXTS if getattr(asked, name) != type(asked).model_fields[name].default]
        return [
            Problem(
                f"`{name}` is of texts, and {objective.kind} makes none",
                "Leave it out.",
                experiment.place("train", "samples", name),
                f"{path}.{name}",
            )
            for name in wrong
        ]
    if experiment.data is None or (isinstance(objective, Language) and isinstance(experiment.data, Text)):
        return []
    message = f"`samples` are texts of a language model or what an objective makes, and {objective.kind} "
    message += f"learns from `{experiment.data.kind}`"
    hint = "Take `objective: language` and `data: {text: ...}`, an objective that makes samples, or leave it out."
    return [Problem(message, hint, place, path)]
