"""How alike the features of layers are, in one network or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...lazy import np
from ...spec.analyses import Analysis
from ..features import each_layer, rows_of
from ..layers import layers_of, unknown_layers
from ..measures.similarity import cka_of_grams, gram
from ..result import Heat, Panel, Result

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import fx

    from ...data.batch import Batch
    from ..subject import Subject

    Grams = dict[str, npt.NDArray[np.float64]]


class Cka(Analysis):
    """Linear centred kernel alignment between the layers of two networks, or of one with itself.

    CKA of features x (n, p) and y (n, q) of the same n examples, both centred, is
    |y^T x|^2 / (|x^T x| |y^T y|) in Frobenius norms: 1 where one is a rotation and a multiple of the other.
    A spec is compared between two seeds of its initialisation, a run with itself, two runs with each other.
    `same_layer` is the mean over the layers that both have, `matching_layers` the share of those that no other layer
    of the second network is more alike, `shuffled` the mean where the examples of the second are in another order,
    so that only the number of features and examples is left; `neighbouring_layers` is the mean of layers that follow
    each other in the first network.
    Books: layers of two trainings of one architecture from different seeds match each other (99.3 % of the time in a
    net of ten layers, Kornblith et al. 2019, table 2), where canonical correlations do not see it.
    """

    kind: ClassVar[str] = "cka"
    source: ClassVar[str] = "Kornblith et al. 2019, arXiv:1905.00414, section 6.1 and table 2"
    example: ClassVar[str] = "dlx analyze cka mnist1d/cnn --set layers=[conv_*]"
    figures: ClassVar[tuple[str, ...]] = ("neighbouring_layers", "shuffled", "same_layer", "matching_layers")
    several: ClassVar[Literal["seeds", "networks", "no"]] = "networks"

    layers: list[str] = Field([], description="nodes to compare, by name or `conv_*`; all where it is empty")
    examples: PositiveInt = Field(512, ge=4, description="examples whose features are compared, at most")
    debiased: bool = Field(
        False, description="unbiased estimates, which are near 0 for unlike features of few examples"
    )

    def problems(self, subject: Subject) -> list[Problem]:
        """Return patterns without a layer, and a third run."""
        found = unknown_layers(subject.graph, self.layers)
        if len(subject.runs) > 2:
            message = f"`cka` compares two networks, and here are {len(subject.runs)} runs"
            found.append(Problem(message, "Name one or two of them."))
        elif len(subject.runs) == 2:
            (one, here), (other, there) = ((each.name, _inputs(each)) for each in subject.each)
            if here != there:
                message = f"{other} takes {there}, and {one} takes {here}"
                found.append(Problem(message, "Both networks are shown the same examples: take two of one data."))
        return found

    def run(self, subject: Subject) -> Result:
        """Compare all layers with all layers."""
        batch = subject.examples(self.examples)
        one = self._grams(subject.network(), subject, batch)
        own = len(subject.runs) == 1
        if own:
            other = one
        elif subject.runs:
            second = subject.each[1]
            other = self._grams(second.network(), second, batch)
        else:
            other = self._grams(subject.network(subject.seed + 1), subject, batch)
        table = np.array([[self._cka(k, m) for m in other.values()] for k in one.values()])
        words = "itself" if own else subject.runs[1].key if subject.runs else f"seed {subject.seed + 1}"
        x, y = np.arange(1, len(other) + 1), np.arange(1, len(one) + 1)
        rows = [[name, *map(float, row)] for name, row in zip(one, table, strict=True)]
        panel = Panel(
            f"CKA with {words}",
            f"layer of {words}",
            f"layer of {subject.name}",
            (Heat(x, y, table, label="CKA", x_names=tuple(other), y_names=tuple(one)),),
        )
        return Result(self._figures(table, one, other, own), (panel,), (("layer", *other), rows), self._notes(one), 1)

    def _grams(self, network: fx.GraphModule, subject: Subject, batch: Batch) -> Grams:
        """Return the centred inner products of the examples by layer."""
        found: Grams = {}
        names = set(layers_of(subject.graph, self.layers))
        each_layer(network, batch.inputs, names, lambda name, value: found.__setitem__(name, gram(rows_of(value))))
        return found

    def _cka(self, k: Any, other: Any) -> float:
        return cka_of_grams(k, other, debiased=self.debiased)

    def _figures(self, table: Any, one: Grams, other: Grams, own: bool) -> dict[str, float]:
        order = np.random.default_rng(0).permutation(len(next(iter(one.values()))))
        places = {name: i for i, name in enumerate(other)}
        pairs = [(i, places[name]) for i, name in enumerate(one) if name in places]
        mixed = [self._cka(one[name], other[name][np.ix_(order, order)]) for name in one if name in places]
        following = [self._cka(a, b) for a, b in zip(list(one.values()), list(one.values())[1:], strict=False)]
        found = {"neighbouring_layers": _mean(following), "shuffled": _mean(mixed)}
        if not own and pairs:
            best = np.nanmax(np.where(np.isnan(table), -np.inf, table), 1)
            found["same_layer"] = _mean([table[i, j] for i, j in pairs])
            found["matching_layers"] = float(np.mean([table[i, j] >= best[i] - 1e-9 for i, j in pairs]))
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def _notes(self, grams: Grams) -> tuple[str, ...]:
        count = len(next(iter(grams.values()), ()))
        return (f"{count:,} examples: with fewer than there are features CKA is large for any, as `shuffled` shows",)


def _inputs(subject: Subject) -> str:
    """Return the shapes of the inputs of a network in words."""
    return " and ".join(f"{tuple(shape)} {shape.dtype}" for shape in subject.graph.inputs.values())


def _mean(values: list[float]) -> float:
    finite = [one for one in values if np.isfinite(one)]
    return float(np.mean(finite)) if finite else float("nan")
