"""Generated examples with several targets, for networks with several heads."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ...lazy import np
from ...shapes import Shape
from ..base import Dataset, Facts, Sets, Split
from ..base import Field as DataField
from ..splits import Standardize, assemble

if TYPE_CHECKING:
    from ..base import Labels, Values

SHARED = 3  # the stream of what all parts share; those of train, valid and test are 0, 1 and 2
MANY = 20_000
"""Examples by which the thresholds of rare labels are set."""
HOUSE = ("area", "rooms", "age", "distance", "garden", "floor")


class SeveralTargets(Dataset):
    """Base class of generated examples with several targets. Each part has a random stream of its own."""

    train: PositiveInt = Field(1000, description="examples to train on")
    valid: NonNegativeInt | None = Field(None, description="examples held out for validation")
    test: NonNegativeInt | None = Field(200, description="examples held out for the test")
    seed: NonNegativeInt = Field(0, description="of the examples")
    standardize: Standardize = "none"

    source: ClassVar[str] = "generated examples"

    @property
    def inputs(self) -> int:
        """Number of values of an example."""
        raise TypeError(f"{type(self).__name__} has no inputs()")

    def targets(self) -> Mapping[str, DataField]:
        """Return the targets by name."""
        raise TypeError(f"{type(self).__name__} has no targets()")

    def examples(self, n: int, rng: np.random.Generator) -> tuple[Values, dict[str, Labels]]:
        """Draw inputs (n, inputs) and the targets by name."""
        raise TypeError(f"{type(self).__name__} has no examples()")

    def facts(self) -> Facts:
        (name, first), *others = self.targets().items()
        shape = None if first.classes is not None else first.shape
        return Facts(
            Shape((self.inputs,)), first.classes, shape, more=dict(others), target_name=name, examples=self.train
        )

    def load(self) -> Sets:
        parts = [self._part(n or 0, stream) for n, stream in zip((self.train, self.valid, self.test), count())]
        source = f"{self.source}: {self.kind}, seed {self.seed}"
        return assemble(parts, self.standardize, source, fields=self.facts().fields)

    def _part(self, n: int, stream: int) -> Split | None:
        if not n:
            return None
        x, targets = self.examples(n, np.random.default_rng([self.seed, stream]))
        (_, y), *others = targets.items()
        return Split(x.astype(np.float32), y, more=dict(others))


class Houses(SeveralTargets):
    """Houses with the two targets of one table: the price in dollars, and whether they were sold within a month.

    Shapes: inputs (6,): area in square metres, rooms, age in years, distance to the centre in kilometres, garden in
    square metres, floor; targets price (1,) as values and sold, class 0 or 1. The price is 2,000 an area, falls with
    age and by a quarter for each 10 km, and has an error of `noise`; the dearer a house is for its area, and the
    farther away, the seldom it is sold within a month.
    Errors: none of its own.
    """

    kind: ClassVar[str] = "houses"
    noise: NonNegativeFloat = Field(0.05, description="standard deviation of the logarithm of the price")

    @property
    def inputs(self) -> int:
        return len(HOUSE)

    def targets(self) -> Mapping[str, DataField]:
        return {"price": DataField(Shape((1,)), "target"), "sold": DataField(Shape((), "int"), "target", 2)}

    def examples(self, n: int, rng: np.random.Generator) -> tuple[Values, dict[str, Labels]]:
        area = rng.uniform(40, 200, n)
        rooms = np.maximum(1, np.round(area / 28 + rng.normal(0, 0.8, n)))
        age, distance = rng.uniform(0, 100, n), rng.uniform(0, 30, n)
        garden, floor = rng.exponential(120, n), rng.integers(0, 6, n)
        worth = 2000 * area * 0.75 ** (distance / 10) * (1 - 0.003 * age) + 150 * garden
        dearer = rng.normal(0, self.noise, n)
        price = worth * np.exp(dearer)
        pull = 1.5 - 0.12 * distance - 0.02 * (age - 50) + 0.5 * (rooms > 3) - 8 * dearer
        sold = rng.uniform(size=n) < 1 / (1 + np.exp(-pull))
        x = np.stack([area, rooms, age, distance, garden, floor], 1)
        return x, {"price": price[:, None].astype(np.float32), "sold": sold.astype(np.int64)}


class RelatedTasks(SeveralTargets):
    """Several tasks of two classes that depend on the same few factors of an example, as multi-task learning assumes.

    Shapes: inputs (inputs,), targets task_1 to task_N, class 0 or 1. The factors are tanh of `factors` random
    projections of normal inputs; each task is the side of a random plane in the space of the factors, the same in all
    parts.
    Errors: none of its own.
    Source: Caruana 1997, Multitask learning, section 2.
    """

    kind: ClassVar[str] = "related_tasks"
    tasks: PositiveInt = Field(8, le=100, description="tasks")
    factors: PositiveInt = Field(3, le=1_000_000, description="factors that all tasks share")
    size: PositiveInt = Field(20, le=1_000_000, description="values of an example")

    @property
    def inputs(self) -> int:
        return self.size

    def targets(self) -> Mapping[str, DataField]:
        one = DataField(Shape((), "int"), "target", 2)
        return {f"task_{i + 1}": one for i in range(self.tasks)}

    def examples(self, n: int, rng: np.random.Generator) -> tuple[Values, dict[str, Labels]]:
        scores, x = self._scores(n, rng)
        return x, {f"task_{i + 1}": (scores[:, i] > 0).astype(np.int64) for i in range(self.tasks)}

    def _scores(self, n: int, rng: np.random.Generator) -> tuple[Values, Values]:
        """Draw inputs, and return the distance of each from the plane of each task (n, tasks), and the inputs."""
        shared = np.random.default_rng([self.seed, SHARED])
        projections = shared.normal(size=(self.size, self.factors)) * 2 / np.sqrt(self.size)
        planes = shared.normal(size=(self.factors, self.tasks))
        x = rng.normal(size=(n, self.size))
        return np.tanh(x @ projections) @ planes, x


class LabelSets(RelatedTasks):
    """Examples with any number of labels, some of them rare, which depend on the same few factors.

    Shapes: inputs (size,), targets (tasks,) of 0 and 1. Inputs and factors are those of related_tasks; an example has
    a label where it lies beyond a threshold of the label's plane, which a share of all examples from 1/2 of the first
    to `rarest` of the last label does, in equal ratios.
    Errors: none of its own.
    """

    kind: ClassVar[str] = "label_sets"
    tasks: PositiveInt = Field(5, le=100, description="labels")
    rarest: PositiveFloat = Field(0.1, le=0.5, description="share of the examples that have the last label")

    def targets(self) -> Mapping[str, DataField]:
        return {"labels": DataField(Shape((self.tasks,)), "target")}

    def examples(self, n: int, rng: np.random.Generator) -> tuple[Values, dict[str, Labels]]:
        sample, _ = self._scores(MANY, np.random.default_rng([self.seed, SHARED + 1]))
        shares = 0.5 * (2 * self.rarest) ** (np.arange(self.tasks) / max(1, self.tasks - 1))
        bounds = [np.quantile(sample[:, k], 1 - share) for k, share in enumerate(shares)]
        scores, x = self._scores(n, rng)
        return x, {"labels": (scores > bounds).astype(np.float32)}
