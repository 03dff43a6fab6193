"""The worst examples of a part of the data: those with the largest loss, with what is true and what is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..lazy import np, torch
from .answers import Boxes, Classes, Joints, Labels, OfHeads, Values, answers_of, titles_beside
from .examples import batches_of, heads_of, losses_of, of_head
from .sequence_answers import Sequences

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.input_record import InputRecord
    from ..objectives.supervised import Head
    from ..training.fit import Job
    from .answer_base import Answers


@dataclass(frozen=True)
class Worst:
    """The worst examples of a part, of one head, the worst first.

    Attributes:
        part: the part of the data.
        head: name of the head; empty where there is one objective.
        places: indices of the examples in the part.
        names: their ids, else their indices in the part.
        titles: titles of the facts of an example: its loss, what is true and what is predicted.
        rows: the facts of each example.
        columns: columns of the source that stand beside them.
    """

    part: str
    head: str
    places: tuple[int, ...]
    names: tuple[str, ...]
    titles: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    def beside(self, columns: Mapping[str, Sequence[Any]]) -> Worst:
        """Return the examples with columns beside them."""
        return replace(self, columns=columns)

    def as_json(self) -> dict[str, Any]:
        """Return the examples as JSON values."""
        return {"part": self.part, "head": self.head or None, "examples": [self._one(i) for i in range(len(self))]}

    def _one(self, i: int) -> dict[str, Any]:
        beside = {"columns": {name: values[i] for name, values in self.columns.items()}} if self.columns else {}
        return {
            "input": self.names[i],
            "index": self.places[i],
            **beside,
            **dict(zip(self.titles, self.rows[i], strict=True)),
        }

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the titles and the rows of a table."""
        beside = [[name, *(values[i] for values in self.columns.values())] for i, name in enumerate(self.names)]
        titles = ["input", *self.columns, *titles_beside(self.titles, list(self.columns))]
        return titles, [[*mine, *map(_cell, row)] for mine, row in zip(beside, self.rows, strict=True)]


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


def joined(found: Sequence[Worst]) -> tuple[list[str], list[list[Any]]]:
    """Return all of them as one table: with the part, and with the titles of each head where there are several."""
    titles, lines = ["part"], []
    for one in found:
        own, rows = one.table()
        named = [t if i == 0 or t in one.columns or not one.head else f"{one.head} {t}" for i, t in enumerate(own)]
        titles += [title for title in named if title not in titles]
        lines += [{"part": one.part, **dict(zip(named, row, strict=True))} for row in rows]
    return titles, [[line.get(title) for title in titles] for line in lines]


@dataclass
class _Worst:
    """The worst examples so far: what they are sorted by (k,), their losses, places, outputs and targets."""

    badness: Tensor
    loss: Tensor
    places: Tensor
    output: Tensor
    target: Tensor


def worst_of(jobs: Sequence[Job], part: str, ids: Sequence[str], record: InputRecord, most: int) -> list[Worst]:
    """Return the `most` worst examples of a part, by head, for one network or the average of several.

    They are sorted by their loss; of one value by how far it is off. `ids` name the examples, empty where they are
    numbered; `record` knows the names of classes and values.
    """
    job = jobs[0]
    heads = heads_of(job, "--wrong")
    found: dict[str, _Worst] = {}
    first = 0
    for outputs, batch in batches_of(jobs, part):
        places = torch.arange(first, first + len(batch))
        first += len(batch)
        for head in heads:
            output, target = of_head(job, head, outputs, batch)
            loss = losses_of(head, output, target)
            mine = _Worst(_badness(head, output, target, loss), loss, places, output.cpu(), target.cpu())
            found[head.name] = _most(mine, most, found.get(head.name))
    outputs = {name: one.output[None] for name, one in found.items()}
    objective = job.supervised.objective
    for i, head in enumerate(heads):
        mine = found[head.name]
        one, mine.target = head.objective.unpacked(mine.output, mine.target)
        heads[i] = head._replace(objective=one)
    of = {head.name: head.objective for head in heads}
    objective = objective.model_copy(update={"of": of}) if heads[0].name else of[""]
    answers = answers_of(objective, outputs, None, record, None)
    each = answers.of if isinstance(answers, OfHeads) else {"": answers}
    return [_described(part, head, found[head.name], each[head.name], ids) for head in heads]


def _most(worst: _Worst, most: int, before: _Worst | None) -> _Worst:
    """Return the `most` worst of these and of those before."""
    both = list(vars(worst).values())
    if before is not None:
        both = [torch.cat(pair) for pair in zip(vars(before).values(), both, strict=True)]
    order = both[0].argsort(descending=True, stable=True)[:most]
    return _Worst(*(one[order] for one in both))


def _badness(head: Head, output: Tensor, target: Tensor, loss: Tensor) -> Tensor:
    """Return what examples (n,) are sorted by: the loss, or of a single value how far it is off."""
    if _one_value(head, target):
        loss = head.objective.residual(output, target).abs().flatten().double().cpu()
    return loss.nan_to_num(nan=-torch.inf)


def _one_value(head: Head, target: Tensor) -> bool:
    return head.objective.measures == "values" and target.shape[1:].numel() == 1


def _described(part: str, head: Head, worst: _Worst, answers: Answers, names: Sequence[str]) -> Worst:
    titles, rows = _facts_of(head, worst, answers)
    losses = [[float(loss)] for loss in worst.loss]
    places = worst.places.tolist()
    return Worst(
        part,
        head.name,
        tuple(places),
        tuple(names[i] if len(names) else str(i) for i in places),
        ("loss", *titles),
        tuple((*loss, *row) for loss, row in zip(losses, rows, strict=True)),
    )


def _facts_of(head: Head, worst: _Worst, answers: Answers) -> tuple[list[str], list[list[Any]]]:
    """Return the titles and, for each example, what is true and what is predicted."""
    target, labels = worst.target, answers.labels
    if isinstance(answers, Classes):
        return _of_classes(head, answers, target)
    if isinstance(answers, Labels):
        named = [
            [_named(labels, of) for of in pair]
            for pair in zip(target.numpy() > 0, answers.indicators > 0, strict=True)
        ]
        return ["true", "predicted"], named
    if isinstance(answers, Boxes):
        there = [sorted({labels[k] for k in kinds}) for kinds in _true_kinds(target)]
        seen = [sorted({row[0] for row in answers.rows(i)}) for i in range(len(answers))]
        return ["true", "predicted"], [list(pair) for pair in zip(there, seen, strict=True)]
    if isinstance(answers, Sequences):
        true = replace(answers, sequences=target.numpy())
        return ["true", "predicted"], [[one.rows(i)[0][0] for one in (true, answers)] for i in range(len(answers))]
    assert isinstance(answers, Values | Joints)
    residual = head.objective.residual(worst.output, target).numpy()
    if residual.ndim != 2:
        largest = np.abs(residual.reshape(len(residual), -1)).max(1)
        return ["largest residual"], [[value] for value in largest.tolist()]
    several = [f" {label}" for label in labels] if len(labels) > 1 else [""]
    titles = [f"{what}{label}" for label in several for what in ("true", "predicted", "residual")]
    stacked = np.stack([target.numpy(), answers.values, residual], 2)
    return titles, stacked.reshape(len(stacked), -1).tolist()


def _named(labels: Sequence[str], which: Sequence[Any]) -> list[str]:
    return [label for label, yes in zip(labels, which, strict=True) if yes]


def _of_classes(head: Head, answers: Classes, target: Tensor) -> tuple[list[str], list[list[Any]]]:
    """Return the names and probabilities of both classes; of maps the share of the positions that is wrong."""
    true, predicted = target.numpy(), answers.classes
    if answers.is_map:
        counts = true != head.objective.loss.ignores()
        shares = [(p[c] != t[c]).mean() for p, t, c in zip(predicted, true, counts, strict=True)]
        return ["wrong positions"], [[float(share)] for share in shares]
    true = true.reshape(len(true)).astype(int)
    rows: list[list[Any]] = [
        [answers.labels[t], answers.labels[p]] for t, p in zip(true.tolist(), predicted.tolist(), strict=True)
    ]
    if answers.probabilities is None:
        return ["true", "predicted"], rows
    each = np.arange(len(true))
    pairs = np.stack([answers.probabilities[each, true], answers.probabilities[each, predicted]], 1)
    both = [[*row, *pair] for row, pair in zip(rows, pairs.tolist(), strict=True)]
    return ["true", "predicted", "p(true)", "p(predicted)"], both


def _true_kinds(target: Tensor) -> list[list[int]]:
    """Return the classes of the boxes of each target (N, 5 + classes, S, S)."""
    from ..modules.boxes import decode_targets

    truth = decode_targets(target)
    there, kinds = truth.confidence[:, 0] > 0, truth.classes.argmax(1)
    return [kind[at].tolist() for kind, at in zip(kinds, there, strict=True)]
