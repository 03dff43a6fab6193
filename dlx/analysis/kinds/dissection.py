"""Network dissection: units whose maps agree with the parts of pictures that have labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...errors import Problem
from ...lazy import torch
from ...spec.analyses import Analysis
from ..layers import unknown_names
from ..measures.classifier import one_input_problems, with_positions
from ..measures.gradient_fields import overlaps
from ..measures.input_space import InputSpace, diverging, resized, space_of
from ..measures.over_seeds import over_seeds
from ..measures.parts_of_network import ending_at
from ..result import Bars, Panel, Pictures, Result

if TYPE_CHECKING:
    from torch import Tensor

    from ..subject import Subject

DETECTS = 0.04
"""Intersection over union from which a unit is called a detector of a class: section 2.2 of the paper."""


class Dissection(Analysis):
    """Intersection over union of the most active places of each unit and the pixels of each class.

    A unit's map is on where it is among the greatest `share` of its values over all examples. A unit is a detector of
    the class with which its overlap is largest, where that is 0.04 or more. Figures: `detectors` (units), `share` of
    all units, `classes` (that have a detector), `best` (largest overlap), `shuffled_best` (with the labels of other
    pictures: what agreement by place alone would give).
    Books: units of trained networks stand for parts and objects that nobody named to them (Prince, section 10.6).
    """

    kind: ClassVar[str] = "dissection"
    source: ClassVar[str] = "Bau, Zhou, Khosla, Oliva & Torralba 2017, arXiv:1704.05796; Prince, section 10.6"
    example: ClassVar[str] = "dlx analyze dissection runs/unet-shapes/ID --set layer=down_2/relu_2"
    figures: ClassVar[tuple[str, ...]] = ("detectors", "share", "classes", "best", "shuffled_best")
    trained: ClassVar[bool] = True

    layer: str = Field("", description="the layer of the units; the last with maps before the output")
    share: float = Field(0.005, gt=0, lt=1, description="part of a unit's values at which it is on")
    examples: int = Field(200, gt=0, description="pictures that are looked at, at most")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why the data has no classes of pixels, or the layer no maps."""
        if found := one_input_problems(subject):
            return found
        name = subject.name
        if not subject.has_data or subject.facts.classes is None or subject.facts.target is None:
            hint = "Take data whose targets are masks, such as `shapes`."
            return [Problem(f"units are compared with classes of pixels, and the data of {name} has none", hint)]
        if found := unknown_names(subject.graph, [self.layer]):
            return found
        maps = [one.name for one in with_positions(subject.graph)]
        if not maps or (self.layer and self.layer not in maps):
            what = f"`{self.layer}`" if self.layer else name
            return [Problem(f"{what} has no maps", f"The last layer that has is `{maps[-1]}`." if maps else "")]
        return []

    def run(self, subject: Subject) -> Result:
        """Compare each unit of each run with each class."""
        space = space_of(subject)
        outputs = set(subject.graph.outputs.values())
        name = self.layer or [one.name for one in with_positions(subject.graph) if one.name not in outputs][-1]
        classes, names = subject.facts.classes or 0, subject.class_names()
        each, shuffled, shown = [], [], list[tuple[str, Any]]()
        for index, one in enumerate(subject.each):
            batch = one.examples(self.examples)
            masks = subject.supervised.target(batch).clamp_min(0)
            network = ending_at(one.network(), name)
            with torch.no_grad():
                maps = torch.cat([network(chunk) for chunk in torch.split(batch.inputs[0], 64)])
            found = overlaps(maps, masks, classes, self.share)
            each.append(found)
            shuffled.append(float(overlaps(maps, masks.roll(1, 0), classes, self.share).max()))
            if not index and space.is_picture:
                raw = space.to_raw(batch.inputs[0])
                for k in range(classes):
                    shown += _shown(space, raw, maps, int(found[:, k].argmax()), names[k], float(found[:, k].max()))
        best = torch.stack([one.amax(0) for one in each]).cpu().numpy()
        detects = [one[one.amax(1) >= DETECTS].argmax(1) for one in each]
        figures = {
            "detectors": sum(len(one) for one in detects) / len(each),
            "share": sum(len(one) / len(all_) for one, all_ in zip(detects, each, strict=True)) / len(each),
            "classes": sum(len(set(one.tolist())) for one in detects) / len(each),
            "best": float(best.max(1).mean()),
            "shuffled_best": sum(shuffled) / len(shuffled),
        }
        mean = over_seeds(best)
        bars = Panel(f"best unit of {name}", "class", "intersection over union", (Bars("best unit", names, *mean),))
        pictures = (Panel("the most active places of the best unit of each class", "", "", (Pictures(shown, 8),)),)
        rows = [
            [names[k], int(each[0][:, k].argmax()), float(mean[0][k]), sum(int((d == k).sum()) for d in detects)]
            for k in range(classes)
        ]
        titles = ("class", "best unit", "intersection over union", "detectors")
        return Result(figures, (bars, *(pictures if shown else ())), (titles, rows), seeds=len(each))


def _shown(
    space: InputSpace, raw: Tensor, maps: Tensor, unit: int, name: str, overlap: float
) -> list[tuple[str, Any]]:
    """Return the two pictures in which a unit is most active, each with its map."""
    best = maps[:, unit].flatten(1).amax(1).topk(2).indices
    found: list[tuple[str, Any]] = []
    for i in best.tolist():
        map_ = resized(maps[i : i + 1, unit], tuple(raw.shape[2:]))[0].cpu().numpy()
        found += [(f"{name}: {overlap:.2f}", space.shown(raw[i])), (f"unit {unit}", diverging(map_))]
    return found
