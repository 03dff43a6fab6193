"""Sampling with replacement by weights of the examples: `train.sampling`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...data import Sets
from ...data.base import Field
from ...errors import Problem, SpecError, did_you_mean, plural
from ...lazy import np, torch
from ...objectives import Objective, Supervised
from ...spec import Experiment, Train
from .data_part import DataPart

if TYPE_CHECKING:
    from torch import Generator, Tensor

WEIGHT = "weight"
"""The field of the weights of examples."""
SHOWN = 10
"""Classes without an example that a message names."""


def draw(weights: Tensor, count: int, rng: Generator) -> Tensor:
    """Draw `count` indices with replacement, each in proportion to `weights` (n,) in float64: int64, (count,)."""
    # torch.multinomial, which WeightedRandomSampler takes, ends at 2^24 examples
    upto = weights.cumsum(0)
    found = torch.searchsorted(upto, torch.rand(count, generator=rng, dtype=torch.float64) * upto[-1], right=True)
    return found.clamp_(max=int(weights.nonzero()[-1]))  # where the product was rounded up to the sum


def example_weights(part: DataPart, train: Train, objective: Objective, rows: Tensor | None = None) -> Tensor | None:
    """Return the weights by which examples are drawn, (n,) in float64 on the host; None for each once an epoch.

    `rows` are the examples that there are to draw from, of a bootstrap sample; all of the part by default.
    """
    if train.sampling is None:
        return None
    if train.sampling.by == "weights":
        weights = part.fields[WEIGHT].cpu().double()
        return weights if rows is None else weights[rows]
    name = _target(train, objective, part.names.targets)
    labels = part.fields[name][:].cpu().long()
    labels = labels if rows is None else labels[rows]
    there = labels >= 0  # the loss leaves the others out
    counts = labels[there].bincount().double()
    return torch.where(there, 1 / counts[labels.clamp_min(0)], 0.0)


def without_loss_weights(part: DataPart, train: Train) -> DataPart:
    """Return a part without the weights of its examples where these say how often each is drawn."""
    return part.without(WEIGHT) if train.sampling is not None and train.sampling.by == "weights" else part


# --- checks ---------------------------------------------------------------------------------------------------------


def problems(experiment: Experiment, objective: Objective) -> list[Problem]:
    """Return the problems between `train.sampling`, the objective and the fields of the data."""
    assert experiment.train is not None
    assert experiment.data is not None
    sampling = experiment.train.sampling
    if sampling is None:
        return []
    fields = experiment.data.facts().fields
    if sampling.by == "balanced":
        return (_problems_of_objective if sampling.target is None else _problems_of_target)(
            experiment, objective, fields
        )
    if WEIGHT in fields and fields[WEIGHT].role == "weight":
        return []
    message = "`sampling: weights` draws by the weights of the examples, and the data names none"
    hint = "`arrays` and `table` name them: `weights: NAME`. `sampling: balanced` draws by class."
    place = experiment.place("train", "sampling")
    return [Problem(f"{message} ({experiment.place('data')})", hint, place, "train.sampling")]


def _problems_of_target(experiment: Experiment, _: Objective, fields: Mapping[str, Field]) -> list[Problem]:
    """Return the problem with the target that `balanced` names: it is none, or has no class for each example."""
    assert experiment.train is not None
    assert experiment.train.sampling is not None
    name, mark = experiment.train.sampling.target or "", experiment.place("train", "sampling", "target")
    targets = [one for one, field in fields.items() if field.role == "target"]
    message, hint = "", ""
    if name not in targets:
        has = ", ".join(f"`{one}`" for one in targets) or "no target"
        message = f"`sampling` names the target `{name}`, and the data has {has}"
        hint = did_you_mean(name, targets)
    elif not _is_class(fields[name]):
        has = _in_words(fields[name])
        message = f"`sampling: balanced` wants a class for each example, and the target `{name}` has {has}"
        hint = "Name a target of classes, or draw by weights of the data: `sampling: weights`."
    return [Problem(message, hint, mark, "train.sampling.target")] if message else []


def _problems_of_objective(
    experiment: Experiment, objective: Objective, fields: Mapping[str, Field]
) -> list[Problem]:
    """Return the problems of `balanced` without a target: the objective learns no class, or several."""
    place, path = experiment.place("train", "sampling"), "train.sampling"
    read = _class_targets(objective, [name for name, one in fields.items() if one.role == "target"])
    classes = [name for name in read if name in fields and _is_class(fields[name])]
    if len(classes) == 1:
        return []
    if len(classes) > 1:
        names = ", ".join(f"`{name}`" for name in classes)
        hint = f"Say which: `sampling: {{by: balanced, target: {classes[0]}}}`."
        message = f"`sampling: balanced` is by one target, and {len(classes)} are classes: {names}"
        return [Problem(message, hint, place, path)]
    has = ", ".join(f"`{name}`: {_in_words(fields[name])}" for name in read if name in fields) or "no target"
    message = f"`sampling: balanced` wants a class for each example, and {objective.kind} has {has}"
    hint = "`sampling: weights` draws by weights that the data names."
    return [Problem(f"{message} ({experiment.place('objective')})", hint, place, path)]


def check_classes(experiment: Experiment, objective: Objective, sets: Sets) -> None:
    """Raise SpecError where a class that is to be drawn as often as others has no example in the training part."""
    counts = class_counts(experiment.train, objective, sets)
    if missing := [number for number, count in enumerate(counts) if not count]:
        which = plural(len(missing), "class").replace("classs", "classes")
        names = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        message = f"`sampling: balanced` draws each class equally often, and {which} of {len(counts)} "
        message += f"{'has' if len(missing) == 1 else 'have'} no example in the part `train`: {names}"
        hint = "Hold out less, or draw the parts by class (`stratify: true`)."
        raise SpecError(Problem(message, hint, experiment.place("train", "sampling"), "train.sampling"))


def notes(train: Train, objective: Objective, sets: Sets) -> tuple[str, ...]:
    """Return a sentence on what is drawn, for the start of a training."""
    if train.sampling is None:
        return ()
    sentence = f"sampling: {plural(len(sets.train), 'example')} an epoch are drawn with replacement"
    if train.sampling.by == "weights":
        return (f"{sentence}, in proportion to their weights, which the loss does not take as well",)
    counts = class_counts(train, objective, sets)
    return (f"{sentence}, each class equally often: there are {min(counts):,} to {max(counts):,} of a class",)


def class_counts(train: Train | None, objective: Objective, sets: Sets) -> list[int]:
    """Return the examples of each class in the training part, for `balanced`; empty for any other sampling."""
    if train is None or train.sampling is None or train.sampling.by != "balanced":
        return []
    name = _target(train, objective, sets.named("target"))
    labels = np.asarray(sets.values(sets.train, name)[:])
    known = sets.fields[name].classes if name in sets.fields else len(sets.class_names)
    return [int(count) for count in np.bincount(labels[labels >= 0], minlength=known or 0)]


def _target(train: Train, objective: Objective, targets: Sequence[str]) -> str:
    """Return the target whose classes are balanced."""
    assert train.sampling is not None
    return train.sampling.target or _class_targets(objective, targets)[0]


def _class_targets(objective: Objective, targets: Sequence[str]) -> list[str]:
    """Return the targets that an objective reads, each once; all of them where it is not supervised."""
    if not isinstance(objective, Supervised) or not targets:
        return list(targets)
    return list(dict.fromkeys(head.field for head in objective.heads(targets)))


def _is_class(field: Field) -> bool:
    return field.classes is not None and not len(field.shape)


def _in_words(field: Field) -> str:
    if field.classes is not None:
        return f"a class at each position of {field.shape}"
    return f"values of shape {field.shape}"
