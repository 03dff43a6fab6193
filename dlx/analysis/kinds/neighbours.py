"""The nearest examples of others, by features of a layer and by the inputs themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...lazy import np
from ...spec.analyses import Analysis
from ..features import (
    Chosen,
    chosen_examples,
    class_problems,
    features_of,
    last_hidden,
    pictures,
    rows_of,
)
from ..layers import unknown_names
from ..measures.over_seeds import over_seeds
from ..measures.votes import distances
from ..result import Bars, Panel, Pictures, Result

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import fx

    from ..subject import Subject

    Array = npt.NDArray[Any]

SHOWN = 5
"""Queries of the gallery and the table."""


class Neighbours(Analysis):
    """Nearest training examples of held-out ones, by the features of a layer and by the inputs as they are.

    `same_class_features` and `same_class_inputs` are the mean share of the k nearest that have the class of the
    query, `expected` that of k training examples taken blindly: the sum over classes of their shares in both parts.
    Features are the values of the layer (n, values) that the last layer with weights takes, unless one is named.
    Books: neighbours by features of a trained network look alike and are of one class where they differ much in
    pixels; neighbours by pixels are often of another class (cs231n 2.1), and an untrained network is no better.
    """

    kind: ClassVar[str] = "neighbours"
    source: ClassVar[str] = "Krizhevsky et al. 2012, figure 4 (right); CS231n notes, section 2.1"
    example: ClassVar[str] = "dlx analyze neighbours digits/lenet --out neighbours.svg"
    figures: ClassVar[tuple[str, ...]] = ("same_class_features", "same_class_inputs", "expected", "in_both")

    layer: str = Field("", description="node whose values are the features; empty: what the last layer takes")
    k: PositiveInt = Field(5, description="neighbours of each query")
    queries: PositiveInt = Field(200, description="held-out examples that are looked at, at most")
    among: PositiveInt = Field(2000, description="training examples to find them among, at most")
    distance: Literal["l2", "l1", "cosine"] = Field("l2", description="distance between features and between inputs")
    seeds: PositiveInt = Field(3, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return what is missing: classes, or the layer."""
        return [
            *class_problems(subject, self.kind),
            *unknown_names(subject.graph, [self.layer]),
        ]

    def run(self, subject: Subject) -> Result:
        """Find the neighbours in both spaces."""
        layer = self.layer or last_hidden(subject.graph)
        queries, among = chosen_examples(subject, self.queries), chosen_examples(subject, self.among, "train")
        by_inputs = self._nearest(*(rows_of(one.batch.inputs[0]) for one in (queries, among)))
        each = [self._by_features(network, subject, layer, queries, among) for network in subject.several(self.seeds)]
        same = over_seeds([_share(queries, among, one) for one in each])
        blind = float(sum((queries.classes == c).mean() * (among.classes == c).mean() for c in set(among.classes)))
        figures = {
            "same_class_features": float(same[0]),
            "same_class_inputs": _share(queries, among, by_inputs),
            "expected": blind,
            "in_both": float(np.mean([_common(one, by_inputs) for one in each])),
        }
        notes = (f"features are those of `{layer}`; {len(among.index):,} training examples to be near to",)
        panels = (_bars(figures, same, layer), *_galleries(subject, queries, among, each[0], by_inputs))
        return Result(figures, panels, _table(subject, queries, among, each[0], by_inputs), notes, len(each))

    def _by_features(
        self, network: fx.GraphModule, subject: Subject, layer: str, queries: Chosen, among: Chosen
    ) -> Array:
        return self._nearest(*(features_of(network, subject.graph, one.batch, layer) for one in (queries, among)))

    def _nearest(self, *rows: Array) -> Array:
        """Return the numbers of the k nearest of the second rows for each of the first, the nearest first (n, k)."""
        if self.distance == "cosine":
            rows = tuple(one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in rows)
        a, b = rows
        found: Array = np.argsort(distances(a, b, 1 if self.distance == "l1" else 2), 1, kind="stable")[:, : self.k]
        return found


def _galleries(subject: Subject, queries: Chosen, among: Chosen, *ways: Array) -> tuple[Panel, ...]:
    """Return the first queries as pictures, each before its neighbours; nothing where inputs are no pictures."""
    names, made = subject.class_names(), []
    asked = pictures(subject, queries.part, queries.index[:SHOWN])
    for way, words in zip(ways, ("features", "inputs"), strict=True):
        near = way[:SHOWN]
        found = pictures(subject, among.part, among.index[near.reshape(-1)])
        if asked is None or found is None:
            return ()
        shown = []
        for i, row in enumerate(near):
            shown.append((f"{names[queries.classes[i]]}:", asked[i]))
            shown += [(names[among.classes[j]], found[i * len(row) + n]) for n, j in enumerate(row)]
        made.append(Panel(f"a query and its neighbours by {words}", "", "", (Pictures(shown, near.shape[1] + 1),)))
    return tuple(made)


def _common(near: Array, other: Array) -> float:
    """Return the mean share of the neighbours that are neighbours in both."""
    return float(np.mean([len({*a} & {*b}) / len(a) for a, b in zip(near, other, strict=True)]))


def _share(queries: Chosen, among: Chosen, near: Array) -> float:
    """Return the mean share of the neighbours that have the class of their query."""
    return float((among.classes[near] == queries.classes[:, None]).mean())


def _bars(figures: dict[str, float], same: Any, layer: str) -> Panel:
    names = ("features", "inputs", "expected")
    heights = [float(same[0]), figures["same_class_inputs"], figures["expected"]]
    ends = [[h if end is None or i else float(end) for i, h in enumerate(heights)] for end in same[1:]]
    bars = Bars("share", names, heights, *(ends if same[1] is not None else (None, None)))
    return Panel(f"neighbours of the query's class; features of {layer}", "nearest by", "share", (bars,))


def _table(subject: Subject, queries: Chosen, among: Chosen, near: Array, by_inputs: Array) -> Any:
    names = subject.class_names()
    rows = [
        [
            f"{queries.part} {queries.index[i]}",
            names[queries.classes[i]],
            *(", ".join(names[among.classes[j]] for j in way[i]) for way in (near, by_inputs)),
        ]
        for i in range(min(SHOWN, len(queries.index)))
    ]
    return ("query", "class", "classes by features", "classes by inputs"), rows
