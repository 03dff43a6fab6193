"""What sources share: parts of one pool of examples, standardisation, and the digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from ..errors import DataError
from ..lazy import np
from .base import Dataset, Sets, Split

if TYPE_CHECKING:
    import numpy.typing as npt

    from .base import Floats, Labels

    Indices = npt.NDArray[np.int64]
    Doubles = npt.NDArray[np.float64]

CHUNK = 4096  # examples turned to double precision at a time


def _not_one(part: float | int) -> float | int:
    if part == 1:
        raise ValueError("1 could be one example or all of them: give a count from 2 up, or a fraction below 1")
    return part


Part = Annotated[Annotated[float, Field(gt=0, lt=1)] | NonNegativeInt, AfterValidator(_not_one)]
"""A fraction of the examples (between 0 and 1) or how many of them (0 or from 2 up)."""

TrainPart = Annotated[
    Part | None, Field(description="examples to train on: a fraction, a count, or null for the rest")
]
ValidPart = Annotated[
    Part | None, Field(description="examples held out for validation: a fraction, a count, or null")
]
TestPart = Annotated[Part | None, Field(description="examples held out for the test: a fraction, a count, or null")]
Stratify = Annotated[bool, Field(description="keep the proportions of the classes in every part")]
SplitSeed = Annotated[NonNegativeInt, Field(description="of the draw that splits the examples")]
Standardize = Annotated[
    Literal["none", "all", "channel", "feature"],
    Field(
        description="bring the training inputs to mean 0 and standard deviation 1: all at once, by channel or value"
    ),
]


class Pool(Dataset):
    """A source that holds one pool of examples and splits it into disjoint parts.

    Errors: fractions above 1 in sum; more examples than there are; a part that was asked for and comes out empty.
    """

    train: TrainPart = None
    valid: ValidPart = None
    test: TestPart = None
    stratify: Stratify = False
    seed: SplitSeed = 0
    standardize: Standardize = "none"

    @model_validator(mode="after")
    def _fractions_fit(self) -> Self:
        total = self._fractions()
        parts = [(k, v) for k, v in self._parts() if isinstance(v, float)]
        text = " + ".join(f"`{name}` {part:g}" for name, part in parts)
        if abs(total - 1) < 1e-9 and not isinstance(self.train, float):
            raise ValueError(f"{text} = 1 leaves nothing to train on: lower one")
        if total > 1 + 1e-9:
            raise ValueError(f"{text} = {total:g}, and there is 1 to share: lower one{self._or_rest()}")
        return self

    def counts(self, total: int) -> tuple[int, int, int]:
        """Examples in train, valid and test out of `total`. DataError where they do not fit."""
        held = [taken(part, total, name) for name, part in self._parts()[1:]]
        shared_out = self._fractions() > 1 - 1e-9 and not any(
            isinstance(part, int) and part for _, part in self._parts()
        )
        if self.train is None or shared_out:  # fractions that make up the whole: what rounding leaves is trained on
            wanted = [max(total - sum(held), 0), *held]
        else:
            wanted = [taken(self.train, total, "train"), *held]
        self._check(wanted, total)
        train, valid, test = wanted
        return train, valid, test

    def split(self, x: Floats, y: Labels) -> list[Split | None]:
        """Train, valid and test out of the pool; None for a part that was not asked for."""
        counts = self.counts(len(x))
        chosen = draw(counts, y if self.stratify else None, len(x), self.seed)
        return [Split(x[rows], y[rows]) if len(rows) else None for rows in chosen]

    def _parts(self) -> list[tuple[str, float | int | None]]:
        return [("train", self.train), ("valid", self.valid), ("test", self.test)]

    def _or_rest(self) -> str:
        return ", or leave out `train` for the rest" if self.train is not None else ""

    def _fractions(self) -> float:
        return sum(part for _, part in self._parts() if isinstance(part, float))

    def _check(self, wanted: Sequence[int], total: int) -> None:
        parts = [(n, name) for n, (name, part) in zip(wanted, self._parts(), strict=True) if n and part is not None]
        text = " + ".join(f"`{name}` {n:,}" for n, name in parts)
        if sum(wanted) > total:
            result = f" = {sum(wanted):,}" if len(parts) > 1 else ""
            raise DataError(
                f"{text}{result} examples are asked for, and there are {total:,}",
                hint=f"Ask for less{self._or_rest()}.",
            )
        if not wanted[0]:
            raise DataError(
                f"no examples are left to train on: {text if self.train is None else '`train` 0'} out of {total:,}",
                hint="Leave out `train` for the rest." if self.train == 0 else f"Hold out less than {total:,}.",
            )


def taken(part: float | int | None, total: int, name: str) -> int:
    """How many of `total` examples a part is; fractions are rounded down. DataError where that leaves none."""
    if part is None or isinstance(part, int):
        return part or 0
    count = int(part * total + 1e-6)
    if not count:
        raise DataError(
            f"`{name}` {part:g} of {total:,} examples is less than one",
            hint=f"Give a fraction above {1 / total:.2g}, or a count." if total else "",
        )
    return count


def draw(counts: Sequence[int], y: Labels | None, total: int, seed: int) -> list[Indices]:
    """Disjoint rows in random order for each count; with classes `y`, in the proportions of the classes."""
    rng = np.random.default_rng(seed)
    if y is None:
        return np.split(rng.permutation(total), np.cumsum(counts))[: len(counts)]
    _, sizes = np.unique(y, return_counts=True)
    members = np.split(np.argsort(y, kind="stable"), np.cumsum(sizes)[:-1])
    table = share([*counts, total - sum(counts)], sizes.tolist())
    pieces = [np.split(rng.permutation(rows), np.cumsum(row)[:-1]) for rows, row in zip(members, table, strict=True)]
    return [rng.permutation(np.concatenate([piece[part] for piece in pieces])) for part in range(len(counts))]


def share(parts: Sequence[int], classes: Sequence[int]) -> list[list[int]]:
    """How many examples of each class (rows) go to each part (columns), both sums kept, each within one of its share.

    Shares are rounded down; then each class gives what it has left to the parts that miss most. Some rounding of a
    table keeps all sums, so by Gale and Ryser 1957 this greedy one does. `parts` and `classes` have equal sums.
    """
    total = sum(classes)
    table = [[part * size // total for part in parts] for size in classes]
    missing = [part - sum(column) for part, column in zip(parts, zip(*table, strict=True), strict=True)]
    for size, row in zip(classes, table, strict=True):
        rest = [part * size % total for part in parts]
        order = sorted(range(len(parts)), key=lambda p: (missing[p], rest[p]), reverse=True)
        for part in order[: size - sum(row)]:
            row[part] += 1
            missing[part] -= 1
    return table


def assemble(parts: Sequence[Split | None], standardize: str, source: str, class_names: tuple[str, ...] = ()) -> Sets:
    """The finished data set from its raw train, valid and test parts."""
    train, valid, test = standardized(parts, standardize)
    if train is None:
        raise DataError("no examples are left to train on")
    return Sets(train, valid, test, digest((train, valid, test)), source, class_names)


def standardized(parts: Sequence[Split | None], how: str) -> list[Split | None]:
    """All parts minus the mean and divided by the standard deviation of the first, which is the training part.

    `how`: "all" takes one mean for everything, "channel" one for each entry of the first axis, "feature" one for each
    input value. What is constant in the training part is divided by 1.
    """
    first = parts[0]
    if how == "none" or first is None:
        return list(parts)
    axes = {"all": range(first.x.ndim), "channel": (0, *range(2, first.x.ndim)), "feature": (0,)}[how]
    mean, scale = _moments(first.x, tuple(axes))
    return [part and Split(_rescaled(part.x, mean, scale), part.y) for part in parts]


def _moments(x: Floats, axes: tuple[int, ...]) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation over `axes` (kept as ones), in double precision; 1 for a constant."""
    constant = x.min(axes, keepdims=True) == x.max(axes, keepdims=True)
    count = x.size / constant.size
    mean = sum((c.sum(axes, dtype=np.float64, keepdims=True) for c in _chunks(x)), np.zeros(())) / count
    squares = sum((np.square(c - mean).sum(axes, keepdims=True) for c in _chunks(x)), np.zeros(()))
    return mean, np.where(constant, 1.0, np.sqrt(squares / count))


def _rescaled(x: Floats, mean: Doubles, scale: Doubles) -> Floats:
    return np.concatenate([((c - mean) / scale).astype(np.float32) for c in _chunks(x)])


def _chunks(x: Floats) -> Iterator[Floats]:
    return (x[i : i + CHUNK] for i in range(0, len(x), CHUNK))


def digest(parts: Sequence[Split | None]) -> str:
    """SHA-256 over dtype, shape and little-endian bytes of every part's inputs and targets, in order."""
    found = hashlib.sha256()
    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        arrays: Sequence[npt.NDArray[Any]] = (part.x, part.y) if part else ()
        found.update(f"{name} {len(arrays)}\n".encode())
        for array in arrays:
            plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            found.update(f"{plain.dtype.str} {plain.shape}\n".encode())
            found.update(plain.data)
    return found.hexdigest()
