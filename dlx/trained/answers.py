"""Predictions by their meaning: classes and maps of them, labels, values, boxes, joints; as rows, JSON and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, prod
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import DlxError
from ..lazy import np, torch
from ..metrics.boxes import AveragePrecision
from ..objectives import Supervised
from ..objectives.ensemble import combined
from ..objectives.multilabel import Multilabel
from ..objectives.translation import Translation
from .answer_base import Answers
from .sequence_answers import Sequences

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.input_record import InputRecord
    from .answer_base import Array

EDGES = ("left", "top", "right", "bottom")
PICTURES = 256
"""Pictures of which all pairs of boxes are compared at once."""
JOINTS = "joints"
"""Key of `InputRecord.reading` with the names of the joints of heat maps."""


@dataclass(frozen=True)
class Classes(Answers):
    """A class for each input (n,), or for each of its positions (n, *size), and its probabilities (n, classes, *size)
    where the loss has them.
    """

    classes: Array
    probabilities: Array | None
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def arrays(self) -> dict[str, Array]:
        more = {} if self.probabilities is None else {"probabilities": self.probabilities}
        return {"classes": self.classes, **more}

    @property
    def is_map(self) -> bool:
        """Whether each position of an input has a class."""
        return self.classes.ndim > 1

    @property
    def titles(self) -> list[str] | None:
        if self.is_map:
            return None
        return ["class", *(f"p({label})" for label in self.labels if self.probabilities is not None)]

    def rows(self, i: int) -> list[list[Any]]:
        likely = [] if self.probabilities is None else self.probabilities[i].tolist()
        return [[self.labels[self.classes[i]], *likely]]

    def as_json(self, i: int) -> dict[str, Any]:
        found = self.classes[i]
        one: dict[str, Any] = {"class": found.tolist() if self.is_map else self.labels[found]}
        return one | ({"probabilities": self.probabilities[i].tolist()} if self.probabilities is not None else {})


@dataclass(frozen=True)
class Texts(Answers):
    """A text for each input, with its tokens (n, length): `<padding>` behind its end."""

    tokens: Array
    texts: tuple[str, ...]
    name: str
    """Name of the target."""
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def arrays(self) -> dict[str, Array]:
        return {"tokens": self.tokens}

    @property
    def titles(self) -> list[str] | None:
        return [self.name]

    def rows(self, i: int) -> list[list[Any]]:
        return [[self.texts[i]]]

    def as_json(self, i: int) -> dict[str, Any]:
        return {"text": self.texts[i]}


@dataclass(frozen=True)
class Labels(Answers):
    """Several labels of each input: `indicators` (n, labels) are 1 for those predicted, with their probabilities."""

    indicators: Array
    probabilities: Array
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.indicators)

    @property
    def arrays(self) -> dict[str, Array]:
        return {"indicators": self.indicators, "probabilities": self.probabilities}

    @property
    def titles(self) -> list[str] | None:
        return [*self.labels, *(f"p({label})" for label in self.labels)]

    def rows(self, i: int) -> list[list[Any]]:
        return [[*self.indicators[i].tolist(), *self.probabilities[i].tolist()]]

    def as_json(self, i: int) -> dict[str, Any]:
        predicted = [label for label, yes in zip(self.labels, self.indicators[i], strict=True) if yes]
        return {"labels": predicted, "probabilities": self.probabilities[i].tolist()}


@dataclass(frozen=True)
class Values(Answers):
    """Values of each input (n, *target)."""

    values: Array
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def arrays(self) -> dict[str, Array]:
        return {"values": self.values}

    @property
    def titles(self) -> list[str] | None:
        return list(self.labels) if len(self.labels) == prod(self.values.shape[1:]) else None

    def rows(self, i: int) -> list[list[Any]]:
        return [self.values[i].reshape(-1).tolist()]

    def as_json(self, i: int) -> dict[str, Any]:
        return {"values": self.values[i].tolist()}


@dataclass(frozen=True)
class Joints(Answers):
    """Joints of each input: the peaks of its heat maps (n, joints, height, width).

    `places` (n, joints, 2) are x and y in pixels of the map, 0 at the centre of the first; `scores` (n, joints) are
    the values there.
    """

    values: Array
    places: Array
    scores: Array
    labels: tuple[str, ...]
    several_rows: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.values)

    @property
    def arrays(self) -> dict[str, Array]:
        return {"values": self.values, "joints": self.places, "scores": self.scores}

    @property
    def titles(self) -> list[str] | None:
        return ["joint", "x", "y", "score"]

    def rows(self, i: int) -> list[list[Any]]:
        each = zip(self.labels, self.places[i].tolist(), self.scores[i].tolist(), strict=True)
        return [[label, *place, score] for label, place, score in each]

    def as_json(self, i: int) -> dict[str, Any]:
        return {"joints": [dict(zip(("joint", "x", "y", "score"), row, strict=True)) for row in self.rows(i)]}


@dataclass(frozen=True)
class Boxes(Answers):
    """Boxes that are left after non-maximum suppression, by input, the highest score of an input first.

    Arguments:
        boxes: left, top, right and bottom (m, 4), as fractions of the picture.
        scores: product of both confidences (m,).
        classes: class numbers (m,).
        inputs: index of the input of each box (m,), ascending.
        count: number of inputs.
        overlap: intersection over union above which the weaker of two boxes of a class is suppressed.
        threshold: least score of a box.
    """

    boxes: Array
    scores: Array
    classes: Array
    inputs: Array
    count: int
    overlap: float
    threshold: float
    labels: tuple[str, ...]
    several_rows: ClassVar[bool] = True

    def __len__(self) -> int:
        return self.count

    @property
    def note(self) -> str:
        """How the boxes were chosen."""
        return (
            f"boxes with a score of at least {self.threshold:g}; of those of a class that overlap by more than "
            f"{self.overlap:g} the one with the highest score"
        )

    @property
    def arrays(self) -> dict[str, Array]:
        return {"boxes": self.boxes, "scores": self.scores, "classes": self.classes, "inputs": self.inputs}

    @property
    def titles(self) -> list[str] | None:
        return ["class", "score", *EDGES]

    def rows(self, i: int) -> list[list[Any]]:
        first, last = np.searchsorted(self.inputs, [i, i + 1])
        mine = slice(int(first), int(last))
        each = zip(self.classes[mine], self.scores[mine].tolist(), self.boxes[mine].tolist(), strict=True)
        return [[self.labels[kind], score, *box] for kind, score, box in each]

    def as_json(self, i: int) -> dict[str, Any]:
        return {"boxes": [{"class": kind, "score": s, "box": edges} for kind, s, *edges in self.rows(i)]}


@dataclass(frozen=True)
class OfHeads(Answers):
    """The answers of each head by its name."""

    of: Mapping[str, Answers]
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.of.values())))

    @property
    def arrays(self) -> dict[str, Array]:
        return {f"{name}/{key}": array for name, one in self.of.items() for key, array in one.arrays.items()}

    @property
    def titles(self) -> list[str] | None:
        each = {name: one.titles for name, one in self.of.items()}
        if any(titles is None or self.of[name].several_rows for name, titles in each.items()):
            return None
        return [self._title(name, title) for name, titles in each.items() for title in titles or ()]

    def _title(self, name: str, title: str) -> str:
        return name if title in ("class", "value", name) else f"{name} {title}"

    def rows(self, i: int) -> list[list[Any]]:
        return [[value for one in self.of.values() for row in one.rows(i) for value in row]]

    def as_json(self, i: int) -> dict[str, Any]:
        return {"heads": {name: one.as_json(i) for name, one in self.of.items()}}


def answers_of(
    objective: Supervised,
    outputs: Mapping[str, Tensor],
    combine: str | None,
    record: InputRecord,
    threshold: float | None,
) -> Answers:
    """Return what the outputs (members, n, ...) of one network or several mean, by the names of the heads."""
    heads = objective.heads(list(record.facts.targets))
    if heads[0].name and threshold is not None:
        raise DlxError(
            "`--threshold` is for one objective, and each head has a `threshold` of its own", hint=LEAVE_OUT
        )
    answers = {}
    for head in heads:
        names = (
            record.class_names if head.field == record.facts.target_name else record.facts.fields[head.field].names
        )
        own = replace(record, facts=record.facts.of_target(head.field), class_names=names)
        answers[head.name] = _answers_of(head.objective, outputs[head.name], combine, own, threshold)
    return OfHeads(answers) if heads[0].name else answers[""]


LEAVE_OUT = "Leave it out."


def _as_probability(threshold: float | None) -> float | None:
    """Return a threshold of probabilities. DlxError for one that all of them lie above, or none."""
    if threshold is not None and not 0 < threshold < 1:
        message = f"`--threshold` is {threshold:g}, and a probability lies between 0 and 1"
        raise DlxError(message, hint="Give one of those, such as 0.7.")
    return threshold


def _answers_of(
    objective: Supervised, outputs: Tensor, combine: str | None, record: InputRecord, threshold: float | None
) -> Answers:
    """Return what the outputs (members, n, ...) of one objective mean.

    `threshold` is the probability above which the second of two classes or a label is answered, or the least score
    of a box, in place of the objective's. Raises DlxError where the objective has neither.
    """
    if isinstance(objective, Translation) and not outputs.is_floating_point():
        _refuse(threshold, "a text has none")
        texts = tuple(objective.written.decode(row) for row in outputs[0].tolist())
        return Texts(outputs[0].numpy(), texts, record.facts.target_name)
    if objective.measures == "boxes":
        return _boxes_of(objective, outputs[0], record, threshold)
    mean = outputs[0] if combine is None else objective.loss.averaged(outputs)
    if objective.measures == "sequences":
        _refuse(threshold, f"`{objective.kind}` tells sequences")
        return Sequences(objective.predict(mean).numpy(), record.class_names or record.facts.class_names)
    if objective.measures == "values":
        _refuse(threshold, f"`{objective.kind}` predicts values")
        return _values_of(objective, objective.answered(mean).numpy(), record)
    if isinstance(objective, Multilabel):
        least = _as_probability(threshold)
        return _labels_of(objective if least is None else objective.at(least), mean)
    classes, likely = _classes_of(objective, mean, outputs, combine, threshold)
    labels = record.class_names or tuple(map(str, range(record.facts.classes or 0)))
    return Classes(classes.numpy(), None if likely is None else likely.numpy(), labels)


def _classes_of(
    objective: Supervised, mean: Tensor, outputs: Tensor, combine: str | None, threshold: float | None
) -> tuple[Tensor, Tensor | None]:
    """Return classes and probabilities."""
    likely = objective.loss.probabilities(mean)
    if objective.one_logit:
        p = objective.loss.predict(mean).squeeze(1).clamp(0, 1)
        likely = None if likely is None else torch.stack([1 - p, p], 1)
    if threshold is not None and combine not in (None, "average"):
        raise DlxError(f"`--threshold` is for a probability, and `--combine {combine}` answers without one")
    if likely is None:
        _refuse(threshold, f"the outputs of {objective.loss.kind} are no probabilities")
    elif likely.shape[1] != 2:
        _refuse(threshold, f"there are {likely.shape[1]} classes")
    elif (least := _as_probability(threshold)) is not None:
        return (likely[:, 1] > least).long(), likely
    decided = mean if combine is None else combined(objective, outputs, combine)
    if objective.one_logit:
        return (objective.loss.predict(decided).squeeze(1) > getattr(objective, "threshold", 0.5)).long(), likely
    return decided.argmax(1), likely


def _labels_of(objective: Multilabel, mean: Tensor) -> Labels:
    names = objective.labels or map(str, range(mean.shape[1]))
    likely = objective.loss.predict(mean).clamp(0, 1)
    return Labels(objective.predicted(mean).long().numpy(), likely.numpy(), tuple(names))


def _refuse(threshold: float | None, has: str) -> None:
    if threshold is not None:
        message = (
            f"`--threshold` is for the probability of the second of two classes, or the score of boxes, and {has}"
        )
        raise DlxError(message, hint=LEAVE_OUT)


def _values_of(objective: Supervised, values: Array, record: InputRecord) -> Answers:
    if values.ndim == 4 and any(metric.of_heat_maps for metric in objective.metrics):
        return _joints_of(values, record)
    named, count = objective.answer_names(record.reading.get("told", [])), prod(values.shape[1:])
    if len(named) != count:
        count = values.shape[1]
        named = ["value"] if count == 1 else [f"value_{i}" for i in range(count)]
    return Values(values, tuple(named))


def _joints_of(maps: Array, record: InputRecord) -> Joints:
    flat = maps.reshape(*maps.shape[:2], -1)
    peak = flat.argmax(2)
    places = np.stack([peak % maps.shape[3], peak // maps.shape[3]], 2)
    names = record.reading.get(JOINTS) or [f"joint_{i}" for i in range(maps.shape[1])]
    return Joints(maps, places, flat.max(2), tuple(names))


def _boxes_of(objective: Supervised, output: Tensor, record: InputRecord, threshold: float | None) -> Boxes:
    """Decode the boxes of one network (n, 5 boxes + classes, S, S), and suppress those of one object.

    Classes and scores are those that `average_precision` takes.
    """
    from ..modules import boxes

    assert record.facts.target is not None
    metric = next((one for one in objective.metrics if isinstance(one, AveragePrecision)), AveragePrecision())
    least = metric.least if threshold is None else threshold
    if isnan(least):
        raise DlxError("`--threshold` is no number", hint="Give the least score of a box, such as 0.5.")
    kinds = record.facts.target[0] - 5
    corners, classes, scores = boxes.detections(output, (output.shape[1] - record.facts.target[0]) // 5 + 1)
    order = scores.argsort(dim=1, descending=True, stable=True)
    scores, classes = scores.gather(1, order), classes.gather(1, order)
    corners = corners.take_along_dim(order[..., None], 1)
    places = [slice(i, i + PICTURES) for i in range(0, len(output), PICTURES)]  # each compares all pairs of boxes
    out = torch.cat([boxes.suppressed(corners[i], classes[i], scores[i], metric.suppress) for i in places])
    left = (scores >= least) & ~out
    inputs = torch.arange(len(output))[:, None].expand_as(left)[left]
    return Boxes(
        boxes=corners[left].numpy(),
        scores=scores[left].numpy(),
        classes=classes[left].numpy(),
        inputs=inputs.numpy(),
        count=len(output),
        overlap=metric.suppress,
        threshold=least,
        labels=record.class_names or tuple(map(str, range(kinds))),
    )


def titles_beside(titles: Sequence[str], beside: Sequence[str]) -> list[str]:
    """Return titles that differ from those of the columns beside them."""
    return [f"predicted {title}" if title in ("input", *beside) else title for title in titles]
