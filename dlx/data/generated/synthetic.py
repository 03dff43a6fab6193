"""Random examples of any shape, to try a network or to measure its speed."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from ..base import Dataset, Facts, Sets, Split
from ..label_noise import LabelNoiseField, with_label_noise
from ..labelled import LabelledField
from ..splits import assemble

if TYPE_CHECKING:
    from ..base import Floats, Labels

TEACHER = 3  # the stream of the teacher; those of train, valid and test are 0, 1 and 2


class Synthetic(Dataset):
    """Independent normal inputs, with targets from a fixed random linear teacher, or random targets.

    Shapes: inputs `shape`, of mean 0 and standard deviation 1; targets 0 to classes - 1, one of them at each of
    `positions`, or `target` values.
    The teacher has one normal weight an input value and output: the class is its largest output, a target value its
    output divided by sqrt(input values), which is of standard deviation about 1. With rule "random" targets are
    uniform classes or normal values, independent of the inputs, so that they can only be memorised.
    Each part has its own random stream: asking for more test examples leaves the others as they are.
    Errors: both `classes` and `target`, or neither; `positions` of values; more examples than fit into memory.
    """

    kind: ClassVar[str] = "synthetic"
    shape: list[PositiveInt] = Field(min_length=1, max_length=8, description="of one input, channels first")
    classes: PositiveInt | None = Field(10, description="how many classes; or give `target`")
    target: list[PositiveInt] | None = Field(
        None, min_length=1, max_length=8, description="shape of one target of real values; or give `classes`"
    )
    positions: list[PositiveInt] | None = Field(
        None, min_length=1, max_length=8, description="size of a map that has a class everywhere; else one an example"
    )
    train: PositiveInt = Field(1000, description="examples to train on")
    valid: NonNegativeInt | None = Field(None, description="examples held out for validation")
    test: NonNegativeInt | None = Field(200, description="examples held out for the test")
    seed: NonNegativeInt = Field(0, description="of the inputs and the teacher")
    rule: Literal["random", "linear"] = Field("linear", description="where targets come from")
    label_noise: LabelNoiseField = None
    labelled: LabelledField = None

    bytes_per_value: ClassVar[int] = 4
    loads_in_numpy: ClassVar[bool] = True
    source: ClassVar[str] = "random numbers"

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if self.target and self.classes and "classes" in self.model_fields_set:
            raise ValueError(
                f"`classes` {self.classes} and `target` {self.target} exclude each other: give one of the two"
            )
        if not self.target and not self.classes:
            raise ValueError("examples have `classes: N` or `target: [shape]`: give one of the two")
        if self.target and self.positions:
            raise ValueError("`positions` have classes, and `target` is for values: its shape holds positions too")
        return self

    @property
    def inputs(self) -> int:
        """Number of values of an input."""
        return prod(self.shape)

    @property
    def outputs(self) -> int:
        """Number of outputs of the teacher."""
        return prod(self.target) if self.target else (self.classes or 1) * prod(self.positions or [])

    def facts(self) -> Facts:
        if self.target:
            return Facts(Shape(self.shape), target=Shape(self.target), examples=self.train)
        positions = None if self.positions is None else Shape(self.positions)
        return Facts(Shape(self.shape), classes=self.classes, target=positions, examples=self.train)

    def load(self) -> Sets:
        try:
            parts = [self._part(stream, count) for stream, count in enumerate((self.train, self.valid, self.test))]
        except (MemoryError, OverflowError, ValueError):  # NumPy's answers to the large, the vast and the absurd
            count = self.train + (self.valid or 0) + (self.test or 0)
            values = count * (self.inputs + self.outputs) + self.inputs * self.outputs
            raise DataError(
                f"{count:,} inputs of shape {Shape(self.shape)}, their targets and teacher take "
                f"{values * 4 / 2**30:,.1f} GiB, which is not to be had",
                hint="Ask for fewer examples or `classes`, or a smaller shape.",
            ) from None
        return with_label_noise(assemble(parts, "none", f"{self.source}, seed {self.seed}"), self)

    def _part(self, stream: int, count: int | None) -> Split | None:
        if not count:
            return None
        rng = np.random.default_rng([self.seed, stream])
        x = rng.standard_normal((count, *self.shape), np.float32)
        if self.rule == "linear":
            return Split(x, self._teacher_targets(x))
        if self.target:
            return Split(x, rng.standard_normal((count, *self.target), np.float32))
        return Split(x, rng.integers(self.classes or 1, size=(count, *(self.positions or []))))

    def _teacher_targets(self, x: Floats) -> Labels:
        rng = np.random.default_rng([self.seed, TEACHER])
        teacher = rng.standard_normal((self.outputs, self.inputs), np.float32)
        flat = x.reshape(len(x), self.inputs)
        # not `@`: its last bits change with the number of threads
        answers: Floats = np.einsum("ni,oi->no", flat, teacher)
        if not self.target:
            classes: Labels = answers.reshape(len(x), self.classes or 1, *(self.positions or [])).argmax(1)
            return classes
        return np.reshape(answers / np.float32(self.inputs**0.5), (len(x), *self.target))
