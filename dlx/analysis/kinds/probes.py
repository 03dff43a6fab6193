"""Linear classifiers on the features of each layer."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import np
from ...spec.analyses import Analysis
from ..features import CHUNK, Chosen, chosen_examples, class_problems, each_layer, rows_of
from ..layers import layers_of, unknown_layers
from ..measures.over_seeds import over_seeds
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, fx

    from ..subject import Subject

    Array = npt.NDArray[Any]


class Probes(Analysis):
    """Held-out accuracy of a linear classifier that learns the classes from the features of a layer, for each layer.

    A probe is a logistic regression with L2 penalty 1 / (2 C) on standardised features (n, values) of a layer, fitted
    by scikit-learn; the network is not changed. `input` is the accuracy of a probe of the inputs as they are,
    `last_layer` and `best` those of layers, `expected` the share of the most frequent class.
    Books: in a trained network the features separate the classes better with each layer, up to the accuracy of the
    network itself (Alain & Bengio 2016); in an untrained one deeper layers separate them no better than the input.
    """

    kind: ClassVar[str] = "probes"
    source: ClassVar[str] = "Alain & Bengio 2016, arXiv:1610.01644, section 3 and figure 5"
    example: ClassVar[str] = "dlx analyze probes digits/lenet"
    figures: ClassVar[tuple[str, ...]] = ("input", "last_layer", "best", "expected")

    layers: list[str] = Field([], description="nodes to probe, by name or `relu_*`; all where it is empty")
    examples: PositiveInt = Field(
        1000, description="training examples that a probe learns, and held-out ones, at most"
    )
    C: PositiveFloat = Field(1.0, description="inverse strength of the L2 penalty, as in scikit-learn")
    features: PositiveInt = Field(
        1024, description="values of a layer at most; of more, that many random projections"
    )
    iterations: PositiveInt = Field(200, description="steps of L-BFGS at most")
    seeds: PositiveInt = Field(3, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return what is missing: classes, or a layer."""
        return [*class_problems(subject, self.kind), *unknown_layers(subject.graph, self.layers)]

    def run(self, subject: Subject) -> Result:
        """Fit a probe to each layer of each network."""
        names = layers_of(subject.graph, self.layers)
        train, held_out = (chosen_examples(subject, self.examples, part) for part in ("train", ""))
        x, new = (rows_of(one.batch.inputs[0]) for one in (train, held_out))
        notes: set[str] = set()
        alone = self._accuracy("the inputs", x, new, train, held_out, notes)
        each = []
        for network in subject.several(self.seeds):
            found, rest = (self._features(network, one, names) for one in (train, held_out))
            each.append([self._accuracy(f"`{n}`", found[n], rest[n], train, held_out, notes) for n in found])
            shown = list(found)
        mean, low, high = over_seeds(np.array(each))
        blind = float(np.bincount(held_out.classes).max() / len(held_out.classes))
        figures = {"input": alone, "last_layer": float(mean[-1]), "best": float(mean.max()), "expected": blind}
        places = np.arange(len(shown) + 1)
        band = (None, None) if low is None or high is None else (np.append(alone, low), np.append(alone, high))
        lines = (
            Lines("linear probe", places, np.append(alone, mean), *band),
            Lines("most frequent class", places[[0, -1]], [blind, blind], dashed=True),
        )
        rows = [["input", alone], *([name, float(value)] for name, value in zip(shown, mean, strict=True))]
        panel = Panel(f"probes of {held_out.part} examples", "layer (0: input)", "accuracy", lines)
        return Result(figures, (panel,), (("layer", "accuracy"), rows), tuple(sorted(notes)), len(each))

    def _features(self, network: fx.GraphModule, chosen: Chosen, names: list[str]) -> dict[str, Array]:
        """Return the features of each layer (n, values), those of large layers projected."""
        found: dict[str, list[Array]] = {}

        def take(name: str, value: Tensor) -> None:
            found.setdefault(name, []).append(self._projected(rows_of(value)))

        for piece in chosen.batch.pieces(CHUNK):
            each_layer(network, piece.inputs, set(names), take)
        return {name: np.concatenate(found[name]) for name in names if name in found}

    def _projected(self, rows: Array) -> Array:
        """Return rows of at most `features` values: random sums, which hold distances (Johnson & Lindenstrauss)."""
        if rows.shape[1] <= self.features:
            return rows
        ways = np.random.default_rng(0).standard_normal((rows.shape[1], self.features), np.float32)
        found: Array = rows @ ways / self.features**0.5
        return found

    def _accuracy(self, name: str, x: Array, new: Array, train: Chosen, held_out: Chosen, notes: set[str]) -> float:
        """Return the accuracy of one probe."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        mean, std = x.mean(0), x.std(0)
        x, new = ((one - mean) / np.where(std > 1e-12, std, 1.0) for one in (x, new))
        if len(set(train.classes)) < 2:
            return float((held_out.classes == train.classes[0]).mean())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            probe = LogisticRegression(C=self.C, max_iter=self.iterations).fit(x, train.classes)
        if caught:
            notes.add(f"the probe of {name} had not settled after {self.iterations} iterations")
        return float((probe.predict(new) == held_out.classes).mean())
