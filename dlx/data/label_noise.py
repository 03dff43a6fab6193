"""The field `label_noise` of data sets: wrong targets in the training part, those of the other parts stay clean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator

from ..errors import DataError, did_you_mean, plural
from ..lazy import np
from ..registry import Declared
from .base import Dataset, Sets, Split
from .base import Field as DataField
from .labelled import with_labelled
from .streaming import Streamed

if TYPE_CHECKING:
    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]

SEED_STREAM = 0x1ABE1
"""Second word of the seed, so that the noise is independent of the split and the examples."""


class LabelNoise(Declared):
    """Make targets of the training part wrong, from a seed; the validation and test parts stay as they are.

    Of classes: `rate` of the training labels, rounded to a whole number of them, get another class. With `symmetric`
    it is each of the others with the same probability, with `pair` the next class, c + 1, and 0 after the last. A
    `matrix` has in row i the probability of each class in place of class i. Labels that the loss ignores stay.
    Of values: a normal number of standard deviation `std`, in their own unit, is added to each.
    Errors: none or several of `rate`, `matrix` and `std`; classes and `std`, values and `rate`; rows that are no
    probabilities.
    Source: Patrini et al. 2017, arXiv:1609.03683 (symmetric and pair noise, transition matrix).
    """

    rate: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="part of the training labels")
    flip: Literal["symmetric", "pair"] = Field("symmetric", description="to any other class, or to the next one")
    matrix: list[list[NonNegativeFloat]] | None = Field(
        None, min_length=2, description="probability of each class, in a row for each true class"
    )
    std: PositiveFloat | None = Field(None, description="standard deviation of what is added to targets of values")
    target: str | None = Field(None, description="the target, where there are several; null: the one")
    seed: NonNegativeInt | None = Field(None, description="of the noise; null: that of the data")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        present = [name for name in ("rate", "matrix", "std") if getattr(self, name) is not None]
        if len(present) != 1:
            has = " and ".join(f"`{name}`" for name in present) or "neither"
            raise ValueError(f"label noise has a `rate`, a `matrix` or `std`, and {has} is there: give one")
        if self.flip == "pair" and self.rate is None:
            raise ValueError(f"`flip: pair` says which class `rate` labels get, and there is `{present[0]}`: drop it")
        for i, row in enumerate(self.matrix or []):
            if len(row) != len(self.matrix or []) or abs(sum(row) - 1) > 1e-6:
                size = f"{len(row)} numbers of sum {sum(row):.6g}"
                raise ValueError(f"row {i} of `matrix` has {size}: give {len(self.matrix or [])} of sum 1")
        return self

    def noisy(self, labels: Labels, classes: int, seed: int) -> Labels:
        """Return a copy of class numbers of any shape with noise; negative ones stay."""
        made, rng = labels.copy(), np.random.default_rng([seed, SEED_STREAM])
        there = np.flatnonzero(made >= 0)
        if self.matrix is not None:
            uniform = rng.random(len(there))
            for c, row in enumerate(self.matrix):
                of_class = labels.flat[there] == c
                # the last class that can be drawn takes what rounding leaves of the sum
                last = int(np.flatnonzero(row)[-1])
                found = np.searchsorted(np.cumsum(row), uniform[of_class], side="right")
                made.flat[there[of_class]] = np.minimum(found, last)
            return made
        assert self.rate is not None
        chosen = rng.permutation(there)[: round(self.rate * len(there))]
        shift = rng.integers(1, classes, len(chosen)) if self.flip == "symmetric" else 1
        made.flat[chosen] = (made.flat[chosen] + shift) % classes
        return made

    def shifted(self, values: npt.NDArray[Any], seed: int) -> npt.NDArray[Any]:
        """Return a copy of values with noise."""
        assert self.std is not None
        rng = np.random.default_rng([seed, SEED_STREAM])
        found: npt.NDArray[Any] = (values + self.std * rng.standard_normal(values.shape)).astype(values.dtype)
        return found

    def in_words(self) -> str:
        """Return the noise as a phrase: `20 % of the training labels, symmetric`."""
        what = f" of the target `{self.target}`" if self.target is not None else ""
        if self.std is not None:
            return f"normal of deviation {self.std:g} on the training targets{what}"
        if self.matrix is not None:
            return f"the training labels{what} by a matrix of {len(self.matrix)} classes"
        return f"{self.rate:.4g} of the training labels{what}, {self.flip}"


LabelNoise.kind = "label_noise"  # not in the class, which would make it a data set that a spec can name

LabelNoiseField = Annotated[
    LabelNoise | None,
    Field(description="part of the training labels that get another class, or in full; other parts stay clean"),
]


def with_label_noise(sets: Sets, data: Dataset) -> Sets:
    """Return the data with the noise of `data.label_noise` on the targets of the training part, and a note.

    Then only the examples that are `labelled` keep their classes.

    Raises:
        DataError: the noise is not for these targets; its path is that of the noise.
    """
    noise: LabelNoise | None = getattr(data, "label_noise", None)
    return with_labelled(sets if noise is None else _with_errors_at_noise(sets, data, noise), data)


def _with_errors_at_noise(sets: Sets, data: Dataset, noise: LabelNoise) -> Sets:
    """Return the data with noise; errors stand at the noise."""
    try:
        return _noisy(sets, noise, data.facts().targets, getattr(data, "seed", 0))
    except DataError as error:
        path = f"data.{data.kind}.label_noise"
        raise DataError(*(replace(problem, path=problem.path or path) for problem in error.problems)) from None


def _noisy(sets: Sets, noise: LabelNoise, fields: Mapping[str, DataField], seed: int) -> Sets:
    """Return the data with noise on one of its targets; `seed` is that of the data."""
    name = target_of(noise, list(fields))
    before = sets.values(sets.train, name)
    if isinstance(before, Streamed):
        raise DataError("`label_noise` changes targets in memory, and these stay on disk", hint="Leave it out.")
    field, seed = fields[name], noise.seed if noise.seed is not None else seed
    if field.classes is None:
        _check_values(noise, name)
        after, changed = noise.shifted(before, seed), len(before)
        about = f"label noise: {noise.in_words()}"
    else:
        _check_classes(noise, name, field.classes)
        after = noise.noisy(before, field.classes, seed)
        changed, count = int((before != after).sum()), int((before >= 0).sum())
        about = f"label noise: {changed:,} of {plural(count, 'training label')} changed"
    record = noise.model_dump(mode="json", exclude_none=True) | {"seed": seed, "changed": changed, "of": before.size}
    train = replace(sets.train, **_in_part(sets, name, after))
    return replace(sets, train=train, label_noise=record, notes=(*sets.notes, f"{about}; other parts are clean"))


def _in_part(sets: Sets, name: str, values: Any) -> dict[str, Any]:
    """Return the attribute of the training part that holds a target, with other values."""
    part: Split = sets.train
    return {"more": {**part.more, name: values}} if name in part.more else {"y": values}


def target_of(noise: LabelNoise, targets: Sequence[str]) -> str:
    """Return the target that the noise is on. DataError where it is none of `targets`, or not said."""
    has = ", ".join(f"`{name}`" for name in targets)
    if not targets:
        raise DataError("`label_noise` changes targets, and the data has none", hint="Leave it out.")
    if noise.target is None and len(targets) > 1:
        hint = f"Say which: `label_noise: {{rate: 0.2, target: {targets[0]}}}`."
        raise DataError(f"`label_noise` is of one target, and the data has {has}", hint=hint)
    if noise.target is not None and noise.target not in targets:
        message = f"`label_noise` names the target `{noise.target}`, and the data has {has}"
        raise DataError(message, hint=did_you_mean(noise.target, targets))
    return noise.target or targets[0]


def _check_values(noise: LabelNoise, name: str) -> None:
    if noise.std is None:
        message = f"`label_noise` changes classes by a `{'matrix' if noise.matrix else 'rate'}`, and the target "
        raise DataError(f"{message}`{name}` has values", hint="Write `label_noise: {std: 0.1}`, in their unit.")


def _check_classes(noise: LabelNoise, name: str, classes: int) -> None:
    if noise.std is not None:
        message = f"`label_noise` adds to values by `std`, and the target `{name}` has {classes} classes"
        raise DataError(message, hint="Write `label_noise: 0.2`, the part of the labels.")
    if noise.matrix is not None and len(noise.matrix) != classes:
        message = (
            f"`matrix` of `label_noise` is of {len(noise.matrix)} classes, and the target `{name}` has {classes}"
        )
        raise DataError(message, hint=f"Give {classes} rows of {classes} probabilities.")
    if classes < 2:
        raise DataError(f"`label_noise` gives another class, and the target `{name}` has one", hint="Leave it out.")
