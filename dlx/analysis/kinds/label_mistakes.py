"""Labels of the data that are likely wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...data import Sets
from ...errors import DlxError, Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..features import CHUNK, Chosen, chosen_examples, class_problems, pictures
from ..measures.mistakes import Mistakes, likely_mistakes
from ..result import Heat, Panel, Pictures, Result

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..subject import Subject

    Array = npt.NDArray[Any]

LEARNT = 0.98
"""Accuracy from which on a network knows the labels themselves by heart, mistakes included."""
ALL = 2**31


class LabelMistakes(Analysis):
    """Labels that are likely wrong, by confident learning from the probabilities of a trained network.

    An example is confidently of class j where its probability of j is at least the mean of that over all examples
    that are labelled j; it is a likely mistake where its label is another. `mistakes` is their number, `share`
    that of all labels. Of data with `label_noise` it is known which labels were made wrong: `precision` is the share
    of the likely mistakes that were, `recall` the share of those that were found, `corrected` the share of the found
    whose suggested class is the true one, and `noise` the share of wrong labels, the precision of a blind choice.
    `recall_above_blind` is the recall less that of a blind choice of as many, which is `share`.
    With several runs the probabilities are their mean. Probabilities should be of examples that the network has not
    learned by heart: take a held-out part, or a network that cannot, such as a linear one.
    """

    kind: ClassVar[str] = "label_mistakes"
    source: ClassVar[str] = "Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, section 3"
    example: ClassVar[str] = "dlx analyze label_mistakes RUN --set part=test"
    figures: ClassVar[tuple[str, ...]] = (
        "mistakes",
        "share",
        "noise",
        "precision",
        "recall",
        "corrected",
        "recall_above_blind",
    )
    trained: ClassVar[bool] = True

    part: str = Field("train", description="part of the data whose labels are looked at: train, valid or test")
    most: PositiveInt = Field(24, description="likely mistakes that are shown, the likeliest first")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return what the data lacks: classes."""
        return class_problems(subject, self.kind)

    def run(self, subject: Subject) -> Result:
        """Compare labels and probabilities of a part."""
        chosen = _in_order(chosen_examples(subject, ALL, self.part), subject)
        p = np.mean([_probabilities(one, chosen) for one in subject.each], 0)
        found = likely_mistakes(p, chosen.classes)
        figures: dict[str, float | int] = {"mistakes": len(found.where), "share": len(found.where) / len(p)}
        notes = []
        accuracy = float((p.argmax(1) == chosen.classes).mean())
        if accuracy > LEARNT:
            notes.append(f"the network answers {accuracy:.1%} of these labels: it may have learned mistakes by heart")
        true = _true_classes(subject, self.part)
        if true is not None and len(true) == len(p):
            figures |= _of_noise(found, chosen.classes, true)
            figures["recall_above_blind"] = figures["recall"] - figures["share"]
        names = subject.class_names()
        rows = [
            [f"{chosen.part} {i}", names[chosen.classes[i]], names[c], float(p[i, chosen.classes[i]]), float(p[i, c])]
            for i, c in zip(found.where[: self.most], found.suggested, strict=False)
        ]
        titles = ("example", "label", "suggested", "probability of the label", "of the suggestion")
        panels = (self._joint(found, names), *_gallery(subject, chosen, found, self.most))
        return Result(figures, panels, (titles, rows), tuple(notes))

    def _joint(self, found: Mistakes, names: tuple[str, ...]) -> Panel:
        at = np.arange(len(names))
        heat = Heat(at, at, found.joint.astype(float), label="examples", x_names=names, y_names=names)
        return Panel("confident joint", "confidently of class", "label", (heat,))


def _gallery(subject: Subject, chosen: Chosen, found: Mistakes, most: int) -> tuple[Panel, ...]:
    """Return the likeliest mistakes as pictures; nothing where there are none."""
    names, where = subject.class_names(), found.where[:most]
    made = pictures(subject, chosen.part, where) if len(where) else None
    if made is None:
        return ()
    words = [f"{names[chosen.classes[i]]}, not {names[c]}?" for i, c in zip(where, found.suggested, strict=False)]
    shown = list(zip(words, made, strict=True))
    return (Panel("likely mistakes: label, suggestion", "", "", (Pictures(shown),)),)


def _in_order(chosen: Chosen, subject: Subject) -> Chosen:
    """Return the examples of a part in its own order."""
    order = np.argsort(chosen.index)
    batch = subject.part(chosen.part).take(torch.from_numpy(chosen.index[order]).to(subject.device))
    return Chosen(chosen.part, chosen.index[order], batch, chosen.classes[order])


def _probabilities(subject: Subject, chosen: Chosen) -> Array:
    """Return the probability of each class (n, classes). DlxError where the loss has none."""
    network, objective = subject.network(), subject.supervised
    found = []
    with torch.inference_mode():
        for piece in chosen.batch.pieces(CHUNK):
            output = objective.main(network(*piece.inputs))
            made = objective.loss.probabilities(output)
            if made is None or made.dim() != 2:
                loss = objective.loss.kind
                raise DlxError(f"outputs of the loss `{loss}` are no probabilities of classes, one each",
                               hint="Train with `classification` and `cross_entropy`.")  # fmt: skip
            found.append(made.double().cpu().numpy())
    rows = np.concatenate(found)
    return np.column_stack([1 - rows, rows]) if rows.shape[1] == 1 else rows


def _true_classes(subject: Subject, part: str) -> Array | None:
    """Return the classes of a part before its label noise; None where it has none."""
    data = subject.experiment.data
    if part != "train" or getattr(data, "label_noise", None) is None:
        return None
    assert data is not None
    clean: Sets = data.model_copy(update={"label_noise": None}).load()
    return np.asarray(clean.train.y[:]).astype(np.int64)


def _of_noise(found: Mistakes, labels: Array, true: Array) -> dict[str, float]:
    wrong = labels != true
    hits = wrong[found.where]
    right = found.suggested[hits] == true[found.where[hits]]
    share = {"noise": wrong.mean(), "precision": hits.mean() if len(hits) else 0.0}
    recall = hits.sum() / max(int(wrong.sum()), 1)
    return {
        name: float(v)
        for name, v in {**share, "recall": recall, "corrected": right.mean() if len(right) else 0.0}.items()
    }
