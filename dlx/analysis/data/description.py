"""The description of data as loaded: fields and why, parts, classes, values, preprocessing, a few examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from ...data import Dataset, Sets, Split
from ...data.base import ColumnUse, ColumnValues
from ...data.base import Field as DataField
from ...data.preprocess import Fitted
from ...data.preprocess.sums import chunks
from ...errors import SpecError
from ...lazy import np
from ...objectives import Supervised
from ...spec import Experiment, missing_sections, objective_of
from ...training.prepared import loaded, statistics_of_targets
from .origin import origin_of

if TYPE_CHECKING:
    from ...losses import Loss

EXAMPLES = 5
"""Examples of the training part that are shown."""
SHORT = 8
"""Values of an example that are written out; of a longer one the least, the mean and the greatest."""

MADE_IN_TRAINING = "made during the training by the data's own feed"


@dataclass(frozen=True)
class FieldDescription:
    """A field of a batch as loaded.

    Attributes:
        dtype: type of its array; empty for a field that is made during the training.
        why: the key of the spec that names it, with its place, and the columns or arrays that it is made of.
        figures: least, mean, greatest value and standard deviation in the training part; of texts, how many differ.
        ignored: positions of the training part that do not count, -100.
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    classes: int | None
    why: str
    figures: Mapping[str, float]
    ignored: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        whole = {**vars(self), "shape": list(self.shape), "figures": dict(self.figures)}
        return {name: value for name, value in whole.items() if name != "ignored" or value}


@dataclass(frozen=True)
class ClassCount:
    """A class of a target: its examples, or positions, in each part, and its weight in the loss, None for none."""

    number: int
    name: str
    counts: Mapping[str, int]
    weight: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return number, name, counts by part and weight as JSON values."""
        named = {"name": self.name} if self.name else {}
        weighed = {} if self.weight is None else {"weight": self.weight}
        return {"class": self.number, **named, **self.counts, **weighed}


@dataclass(frozen=True)
class DataDescription:
    """The data of one training as read: parts, fields, classes, columns and examples."""

    name: str
    kind: str
    sets: Sets
    parts: Mapping[str, Split]
    fields: tuple[FieldDescription, ...]
    classes: Mapping[str, tuple[ClassCount, ...]]
    """By target, its classes."""
    columns: tuple[ColumnUse, ...] = ()
    column_values: Mapping[str, ColumnValues] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def steps(self) -> dict[str, tuple[Fitted, ...]]:
        """The fitted preprocessing steps by input field."""
        main = {self.sets.named("input")[0]: self.sets.preprocess}
        return {name: steps for name, steps in {**main, **self.sets.preprocess_more}.items() if steps}

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx data --json`."""
        values = {name: one.as_json() for name, one in self.column_values.items()}
        return {
            "name": self.name,
            "data": self.kind,
            "source": self.sets.source,
            "digest": self.sets.digest,
            "parts": {name: len(part) for name, part in self.parts.items()},
            "fields": [one.as_json() for one in self.fields],
            "classes": {name: [one.as_json() for one in each] for name, each in self.classes.items()},
            "columns": [use.as_json() | values.get(use.name, {}) for use in self.columns],
            "preprocess": {name: [one.as_json() for one in steps] for name, steps in self.steps.items()},
            "examples": list(self.examples),
            "notes": list(self.sets.notes),
        }


def described(experiment: Experiment) -> dict[str, DataDescription]:
    """Load the data of a spec and describe it; by stage where stages read different data, else under "".

    A spec for this needs no network and no training.

    Raises:
        SpecError: the spec has mistakes, no data, or data that cannot be read.
    """
    check_sections(experiment)
    stages = {stage.name: stage.experiment for stage in experiment.stages}
    if len({repr(one.data) for one in stages.values()}) > 1:
        return {name: describe(one) for name, one in stages.items()}
    return {"": describe(experiment)}


def check_sections(experiment: Experiment) -> None:
    """Raise SpecError with the mistakes of all sections; that there is no network is none here."""
    network = experiment.root.at("network") or experiment.root.at("networks")
    problems = [p for p in experiment.problems if network is not None or p.message != "there is no `network`"]
    if problems := [*problems, *missing_sections(experiment, "data")]:
        raise SpecError(*problems)


def describe(experiment: Experiment) -> DataDescription:
    """Load the data of one training and describe it. SpecError where it cannot be read."""
    experiment.use_plugins()
    data = experiment.data
    assert data is not None
    sets = loaded(experiment)
    facts = data.facts()
    splits = {"train": sets.train, "valid": sets.valid, "test": sets.test}
    parts = {name: part for name, part in splits.items() if part is not None and len(part)}
    made = DataDescription(
        experiment.name,
        data.kind,
        sets,
        parts,
        tuple(_field(experiment, sets, name, one, facts.columns) for name, one in facts.fields.items()),
        _classes(experiment, sets, parts, facts.fields),
        facts.columns,
        {one.name: one for one in data.column_values()},
    )
    return _with_examples(made, data)


def _field(
    experiment: Experiment, sets: Sets, name: str, one: DataField, columns: Sequence[ColumnUse]
) -> FieldDescription:
    if name not in (*sets.named("input")[:1], *sets.named("target")[:1], *sets.train.more):
        return FieldDescription(name, one.role, "", tuple(one.shape), one.classes, MADE_IN_TRAINING, {})
    array = sets.values(sets.train, name)
    why = origin_of(experiment, name, one, columns)
    dtype, shape = str(array.dtype), tuple(array.shape[1:])
    if one.role == "id":
        return FieldDescription(name, one.role, "text", shape, None, why, {"distinct": len(np.unique(array))})
    figures, ignored = _figures(array, of_positions=one.role == "target" and one.classes is not None)
    return FieldDescription(name, one.role, dtype, shape, one.classes, why, figures, ignored)


def _figures(array: Any, *, of_positions: bool) -> tuple[dict[str, float], int]:
    """Return the figures of an array, read chunk by chunk, and the number of its positions that do not count."""
    count, total, squares, low, high, ignored = 0, 0.0, 0.0, np.inf, -np.inf, 0
    for piece in chunks(array):
        values = np.asarray(piece, np.float64)
        if of_positions:
            ignored += int((values < 0).sum())
            values = values[values >= 0]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            # Chan's update of a mean and a sum of squares: sums of large values would cancel
            mean = float(values.mean())
            apart = mean - total
            squares += float(np.square(values - mean).sum()) + apart**2 * count * values.size / (count + values.size)
            total += apart * values.size / (count + values.size)
            count += values.size
    if not count:
        return {}, ignored
    return {"min": low, "mean": total, "max": high, "std": float(np.sqrt(squares / count))}, ignored


def _classes(
    experiment: Experiment, sets: Sets, parts: Mapping[str, Split], fields: Mapping[str, DataField]
) -> dict[str, tuple[ClassCount, ...]]:
    weights = _class_weights(experiment, sets)
    found = {}
    for name, one in fields.items():
        if one.role != "target" or one.classes is None:
            continue
        counts = {part: _counts(sets.values(split, name), one.classes) for part, split in parts.items()}
        names = one.names or (sets.class_names if name == sets.named("target")[0] else ())
        weighed = weights.get(name)
        found[name] = tuple(
            ClassCount(
                i,
                names[i] if i < len(names) else "",
                {part: counted[i] for part, counted in counts.items()},
                weighed[i] if weighed and len(weighed) == one.classes else None,
            )
            for i in range(one.classes)
        )
    return found


def _counts(targets: Any, classes: int) -> list[int]:
    """Return the number of targets of each class; those below 0 do not count."""
    total = np.zeros(classes, np.int64)
    for piece in chunks(targets):
        flat = np.asarray(piece).reshape(-1)
        total += np.bincount(flat[flat >= 0], minlength=classes)
    counts: list[int] = total.tolist()
    return counts


def _class_weights(experiment: Experiment, sets: Sets) -> dict[str, list[float]]:
    """Return by target the weights of the classes that follow from the training part (`balanced`)."""
    if experiment.objective is None:
        return {}
    objective = objective_of(experiment)
    if not isinstance(objective, Supervised):
        return {}
    statistics = statistics_of_targets(experiment, objective, sets)
    found = {}
    for head in objective.heads(sets.named("target")):
        mine = statistics.get(head.name, {}) if head.name else statistics
        if head.objective.loss.balances and mine:
            found[head.field] = _weights(head.objective.fitted(mine).loss)
    return {name: weights for name, weights in found.items() if weights}


def _weights(loss: Loss) -> list[float]:
    """Return the weights of a loss, or of the first of a sum that has some."""
    for one in getattr(loss, "losses", [loss]):
        for option in ("weight", "pos_weight"):
            value = getattr(one, option, None)
            if isinstance(value, list):
                return [float(each) for each in value]
            if isinstance(value, float):
                return [1.0, value]  # of one logit: class 0, class 1
    return []


def _with_examples(made: DataDescription, data: Dataset) -> DataDescription:
    """Return the description with the first examples of the training part."""
    train, sets = made.sets.train, made.sets
    some = train.take(slice(0, EXAMPLES))
    rows = [int(row) for row in some.rows] if some.rows is not None else list(range(len(some)))
    cells = data.cells(rows)
    examples = []
    for i, row in enumerate(rows):
        values = {one.name: sets.values(some, one.name)[i] for one in made.fields if one.dtype}
        texts = {name: data.text_of(value) for name, value in values.items()}
        fields: dict[str, Any] = {
            n: _short(value) if (text := texts[n]) is None else text for n, value in values.items()
        }
        names = {name: each for name, each in made.classes.items() if isinstance(fields[name], int)}
        for name, each in names.items():
            if each[fields[name]].name:
                fields[name] = each[fields[name]].name
        examples.append({"index": row, "fields": fields, **({"row": cells[i]} if cells else {})})
    return DataDescription(**{**vars(made), "examples": tuple(examples)})


def _short(value: Any) -> Any:
    """Return the value of a field of one example: a number, a text, a short list, or figures of a long one."""
    array = np.asarray(value)
    if array.ndim == 0 or array.size == 1:
        return array.reshape(-1)[0].item()
    if prod(array.shape) <= SHORT:
        return array.tolist()
    plain = array.astype(np.float64)
    return {"min": float(plain.min()), "mean": float(plain.mean()), "max": float(plain.max())}


__all__ = ["ClassCount", "DataDescription", "FieldDescription", "check_sections", "describe", "described"]
