"""Nearest neighbours by L_n distances: regions of answers in the plane, with ties shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...lazy import np
from ...registry import AsWord
from ...spec.analyses import Analysis, Words
from ..features import Chosen, chosen_examples, class_problems, rows_of
from ..measures.votes import TIE, voted
from ..result import Bars, Heat, Panel, Points, Result

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..subject import Subject

    Array = npt.NDArray[Any]

MARGIN = 0.08
"""Share of the extent of the data that a map has around it."""


class Distances(Analysis):
    """Answers of k nearest training examples by several L_n distances, (sum_i |a_i - b_i|^n)^(1/n), and their ties.

    The network is not asked: the data is. `accuracy_k1_l2` is the share of held-out examples that are answered with
    their class, `training_k1_l2` that of the training examples themselves, `tied_k1_l2` the share of held-out
    examples, or of a map's area where inputs are points in a plane, whose answer is not decided: classes with equally
    many votes, or points equally far as the k-th. A tie is a wrong answer, and has a colour of its own in the map.
    Books: with k = 1 each training example is its own neighbour, so that k = 1 is always best on the training part;
    larger k smooth the regions; L1 depends on the orientation of the axes and L2 does not (CS231n 2.1). The notes
    have L_n for every whole n: below 1 it is no distance (the triangle inequality fails), and at 0 there is no 1/n.
    """

    kind: ClassVar[str] = "distances"
    source: ClassVar[str] = "CS231n notes, section 2.1, equation 2.1.1"
    example: ClassVar[str] = "dlx analyze distances digits/lenet"
    figures: ClassVar[tuple[str, ...]] = ("accuracy_kN_lORDER", "training_kN_lORDER", "tied_kN_lORDER")

    n: list[PositiveInt | Annotated[Literal["inf"], AsWord]] = Field(
        [1, 2], min_length=1, description="orders of the distances; `inf` too"
    )
    k: list[PositiveInt] = Field([1, 3, 5], min_length=1, description="numbers of neighbours")
    examples: PositiveInt = Field(1000, description="training examples, and held-out ones, at most")
    resolution: PositiveInt = Field(120, le=2_000, ge=2, description="places of a map along each axis")

    def words(self, subject: Subject) -> Words:
        orders = [str(n) for n in self.n]
        if (there := subject.facts.examples) is None:
            return {"ORDER": orders}
        return {"N": [str(min(k, self.examples, there)) for k in self.k], "ORDER": orders}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return what the data lacks: classes."""
        return class_problems(subject, self.kind)

    def run(self, subject: Subject) -> Result:
        """Ask the neighbours of held-out and training examples, and of each place of the plane."""
        train, held_out = (chosen_examples(subject, self.examples, part) for part in ("train", ""))
        x, new = (rows_of(one.batch.inputs[0]) for one in (train, held_out))
        figures: dict[str, float] = {}
        panels: list[Panel] = []
        rows = []
        flat = x.shape[1] == 2
        for n in self.n:
            order = np.inf if n == "inf" else float(n)
            for k in (min(one, len(x)) for one in self.k):
                name = f"k{k}_l{n}"
                answers, own = voted(new, x, train.classes, k, order), voted(x, x, train.classes, k, order)
                figures[f"accuracy_{name}"] = float((answers == held_out.classes).mean())
                figures[f"training_{name}"] = float((own == train.classes).mean())
                figures[f"tied_{name}"] = float((answers == TIE).mean())
                if flat:
                    panel, tied = self._map(x, train, k, order, f"k = {k}, L{n}", subject)
                    panels.append(panel)
                    figures[f"tied_{name}"] = tied
                rows.append([k, f"L{n}", *(figures[f"{one}_{name}"] for one in ("accuracy", "training", "tied"))])
        if not flat:
            panels = [_bars(self.k, self.n, figures, len(x))]
        titles = ("k", "distance", f"accuracy of {held_out.part}", "of train", "tied")
        notes = ("ties: share of the map's area" if flat else f"ties: share of the examples of `{held_out.part}`",)
        return Result(figures, tuple(panels), (titles, rows), notes)

    def _map(self, x: Array, train: Chosen, k: int, n: float, title: str, subject: Subject) -> tuple[Panel, float]:
        """Return the map of answers over the plane, and the share of its area that is tied."""
        low, high = x.min(0), x.max(0)
        around = MARGIN * np.maximum(high - low, 1e-6)
        across, up = (np.linspace(a, b, self.resolution) for a, b in zip(low - around, high + around, strict=True))
        grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
        answers = voted(grid, x, train.classes, k, n)
        names = subject.class_names()
        values = np.where(answers == TIE, len(names), answers).reshape(self.resolution, self.resolution)
        heat = Heat(across, up, values, classes=(*names, "tie"))
        by_class = np.argsort(train.classes, kind="stable")  # so that they have the colours of their regions
        points = Points("examples", x[by_class, 0], x[by_class, 1], [names[c] for c in train.classes[by_class]])
        return Panel(title, "first value", "second value", (heat, points)), float((answers == TIE).mean())


def _bars(ks: list[int], orders: list[Any], figures: dict[str, float], count: int) -> Panel:
    names = [str(min(k, count)) for k in ks]
    marks = tuple(Bars(f"L{n}", names, [figures[f"accuracy_k{k}_l{n}"] for k in names]) for n in orders)
    return Panel("nearest neighbours of held-out examples", "k", "accuracy", marks)
