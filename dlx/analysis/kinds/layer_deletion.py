"""Layers or residual blocks of a trained network that are left out, or in another order."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis, Words
from ..measures.classifier import KINDS, classes_of
from ..measures.surgery import Removable, kendall_tau, removable, reordered, without
from ..result import Lines, Panel, Points, Result

if TYPE_CHECKING:
    from torch import fx

    from ..subject import Subject

    Measure = Callable[[fx.GraphModule], float]


@dataclass(frozen=True)
class _Damage:
    """What surgery does to one network: error or loss.

    Attributes:
        intact: of the network itself.
        without: with each part left out, in execution order.
        several: with 1, 2, ... random parts left out, several draws of each.
        shuffled: Kendall's tau and the measure of parts in another order.
    """

    name: str
    intact: float
    parts: tuple[Removable, ...]
    without: list[float]
    several: list[list[float]]
    shuffled: list[tuple[float, float]]


class LayerDeletion(Analysis):
    """Error of a trained network with one block left out, with several, and with blocks in another order.

    Of a residual network the blocks: without one its shortcut goes on alone. Of a plain one the layers that multiply
    and leave shapes as they are, each with the norms and activations behind it. Blocks change places where their
    layers have equal shapes. The error is the share of wrong classes in the held-out part, or the loss where there
    are none; other runs stand beside for comparison, such as the plain network.
    Figures: `intact`, `without_one` (the median over parts), `rise` (that less `intact`) and `worst_without_one`,
    `shuffled` (the mean over orders); of further runs with the number of the run behind, `without_one_2`.
    Books: a residual network loses a little with each block, a plain one all with any layer; the error of a shuffled
    residual network grows smoothly with the disorder.
    """

    kind: ClassVar[str] = "layer_deletion"
    source: ClassVar[str] = (
        "Veit, Wilber & Belongie 2016, arXiv:1605.06431, section 4 and figures 3 to 5; "
        "Prince 2023, Understanding Deep Learning, notes of chapter 11"
    )
    example: ClassVar[str] = "dlx analyze layer_deletion RUN"
    figures: ClassVar[tuple[str, ...]] = (
        "intact",
        "without_one",
        "rise",
        "worst_without_one",
        "shuffled",
        "intact_N",
        "without_one_N",
        "rise_N",
        "worst_without_one_N",
        "shuffled_N",
    )
    trained: ClassVar[bool] = True
    several: ClassVar[Literal["seeds", "networks", "no"]] = "networks"

    examples: PositiveInt = Field(1000, description="examples of the held-out part, at most")
    draws: NonNegativeInt = Field(
        3, le=100_000, description="random choices of each number of parts that are left out together"
    )
    shuffles: NonNegativeInt = Field(20, description="random orders of the parts")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return networks without a part that can be left out."""
        hint = "A part is a residual block, or a layer whose output has the shape of its input."
        return [
            Problem(f"{one.name} has no part that can be left out", hint)
            for one in subject.each
            if not removable(one.graph)
        ]

    def words(self, subject: Subject) -> Words:
        return {"N": subject.numbers_of_others}

    def run(self, subject: Subject) -> Result:
        """Measure each network intact, and after each surgery."""
        found = [self._damage(one) for one in subject.each]
        what = "error" if _classes(subject) else "loss"
        figures = {
            f"{name}{'' if not i else f'_{i + 1}'}": value
            for i, one in enumerate(found)
            for name, value in _figures(one).items()
        }
        rows = [
            [one.name, part.name, value] for one in found for part, value in zip(one.parts, one.without, strict=True)
        ]
        notes = [f"{one.name} has no two parts of equal shapes to shuffle" for one in found if not one.shuffled]
        return Result(
            figures,
            tuple(
                panel for panel in (_single(found, what), _together(found, what), _order(found, what)) if panel.marks
            ),
            (("network", "left out", what), [*([one.name, "nothing", one.intact] for one in found), *rows]),
            tuple(notes) if self.shuffles else (),
        )

    def _damage(self, subject: Subject) -> _Damage:
        network, parts, measure = subject.network(), removable(subject.graph), self._measure(subject)
        chooser = random.Random(0)  # noqa: S311
        several = [
            [measure(without(network, chooser.sample(parts, count))) for _ in range(self.draws)]
            for count in range(1, len(parts) + 1)
        ]
        orders = [_shuffled(parts, chooser) for _ in range(self.shuffles if _exchangeable(parts) else 0)]
        return _Damage(
            subject.name,
            measure(network),
            parts,
            [measure(without(network, [part])) for part in parts],
            several if self.draws else [],
            [(tau, measure(reordered(network, places))) for tau, places in orders],
        )

    def _measure(self, subject: Subject) -> Measure:
        """Return the error of a network on the held-out examples, or its loss."""
        batch, objective = subject.examples(self.examples), subject.supervised
        target, classes = objective.target(batch), _classes(subject)

        def measured(network: fx.GraphModule) -> float:
            with torch.inference_mode():
                output = objective.main(network(*batch.inputs))
                if classes:
                    return float((classes_of(objective, output) != target).float().mean())
                return float(subject.loss_function()(output, target))

        return measured


def _classes(subject: Subject) -> bool:
    """Whether the objective learns one class for each example."""
    return subject.objective.kind in KINDS


def _exchangeable(parts: Sequence[Removable]) -> list[list[int]]:
    """Return the places of parts that may change places, two or more each."""
    groups: dict[object, list[int]] = {}
    for i, part in enumerate(parts):
        groups.setdefault(part.order, []).append(i)
    return [places for places in groups.values() if len(places) > 1]


def _shuffled(parts: Sequence[Removable], chooser: random.Random) -> tuple[float, dict[Removable, Removable]]:
    """Return a random number of swaps of parts: Kendall's tau of the order, and what stands at each place."""
    order, groups = list(range(len(parts))), _exchangeable(parts)
    for _ in range(chooser.randint(1, 2 * len(parts))):
        i, j = chooser.sample(chooser.choice(groups), 2)
        order[i], order[j] = order[j], order[i]
    return kendall_tau(order), {parts[i]: parts[j] for i, j in enumerate(order)}


def _figures(one: _Damage) -> dict[str, float]:
    found = {
        "intact": one.intact,
        "without_one": statistics.median(one.without),
        "rise": statistics.median(one.without) - one.intact,
        "worst_without_one": max(one.without),
    }
    return found | ({"shuffled": statistics.fmean(value for _, value in one.shuffled)} if one.shuffled else {})


def _single(found: Sequence[_Damage], what: str) -> Panel:
    marks = [Lines(one.name, np.arange(1, len(one.parts) + 1), one.without) for one in found]
    intact = [Lines(f"{one.name}, intact", [1, len(one.parts)], [one.intact] * 2, dashed=True) for one in found]
    return Panel("one part left out", "part, from the input on", what, (*marks, *intact))


def _together(found: Sequence[_Damage], what: str) -> Panel:
    marks = tuple(Lines(one.name, np.arange(len(one.several) + 1), *_with_start(one)) for one in found if one.several)
    return Panel("several parts left out", "parts left out", what, marks)


def _with_start(one: _Damage) -> tuple[list[float], list[float], list[float]]:
    """Return mean, least and greatest of the draws, from nothing left out on."""
    rows = [[one.intact], *one.several]
    return [statistics.fmean(row) for row in rows], list(map(min, rows)), list(map(max, rows))


def _order(found: Sequence[_Damage], what: str) -> Panel:
    marks = tuple(
        Points(one.name, [tau for tau, _ in one.shuffled], [value for _, value in one.shuffled])
        for one in found
        if one.shuffled
    )
    return Panel("parts in another order", "Kendall's tau of the order", what, marks)
