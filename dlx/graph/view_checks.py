"""Checks of an objective that takes views of its examples against `train.augment` and the batch. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from ..augment import Mixing
from ..augment.one_of import flattened
from ..errors import Problem
from ..objectives import Objective
from ..spec import Experiment


def problems(experiment: Experiment, objective: Objective) -> Iterator[Problem]:
    """Yield what does not fit between an objective that takes views of its examples, `augment` and `batch_size`."""
    train, data = experiment.train, experiment.data
    if train is None or not objective.views:
        return
    place, path, kind = experiment.place("train", "augment"), "train.augment", objective.kind
    if objective.compares and train.batch_size == 1:
        message = f"{kind} tells an example from the others of its batch, and `batch_size` is 1"
        yield Problem(message, "Raise it.", experiment.place("train", "batch_size"), "train.batch_size")
    if not train.augment:
        if objective.views > 1:
            message = f"{kind} compares {objective.views} views of an example, and without `augment` they are equal"
            hint = "Say how they differ: `augment: [{crop: {padding: 1}}, {rotate: 15}]`."
            yield Problem(message, hint, experiment.place("train"), path)
        return
    for step in flattened(train.augment):
        if isinstance(step, Mixing):
            yield Problem(f"{step.kind} mixes targets, and {kind} learns none", "Leave it out.", place, path)
    field = getattr(objective, "field", None)
    if data is not None and field is not None and field != (main := data.facts().input_name):
        message = f"`augment` changes the input `{main}`, and {kind} learns from `{field}`"
        yield Problem(message, f"Leave one out, or learn from `{main}`.", place, path)
