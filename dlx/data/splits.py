"""Splitting a pool of examples into parts, standardisation, and the digest of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from ..errors import DataError, plural
from ..lazy import np
from ..registry import Choice
from ..shapes import Shape
from ..utils.exact_fractions import rounded_down
from .base import Dataset, Facts, Sets, Split, with_role
from .base import Field as DataField
from .file_reading import lost_distinctions
from .label_noise import LabelNoiseField, with_label_noise
from .labelled import LabelledField
from .preprocess import PREPROCESSING, Fitted, Preprocess, applied, as_float32, fit_steps, shape_after
from .preprocess.sums import chunks
from .streaming import Streamed

if TYPE_CHECKING:
    import numpy.typing as npt

    from .base import Labels

    Indices = npt.NDArray[np.int64]


def _not_one(part: float | int) -> float | int:
    if part == 1:
        raise ValueError("1 could be one example or all of them: give a count from 2 up, or a fraction below 1")
    return part


PartSize = Annotated[Annotated[float, Field(gt=0, lt=1)] | NonNegativeInt, AfterValidator(_not_one)]
"""A fraction of the examples (between 0 and 1), or a count (0 or from 2 up)."""

TrainPart = Annotated[
    PartSize | None, Field(description="examples to train on: a fraction, a count, or null for the rest")
]
ValidPart = Annotated[
    PartSize | None, Field(description="examples held out for validation: a fraction, a count, or null")
]
TestPart = Annotated[
    PartSize | None, Field(description="examples held out for the test: a fraction, a count, or null")
]
Stratify = Annotated[bool, Field(description="keep the proportions of the classes in every part")]
SplitSeed = Annotated[NonNegativeInt, Field(description="of the draw that splits the examples")]
Order = Annotated[
    Literal["random", "order"],
    Field(description="draw the parts at random, or cut them in the order of the examples: train, valid, then test"),
]
Standardize = Annotated[
    Literal["none", "all", "channel", "feature"],
    Field(
        description="bring the training inputs to mean 0 and standard deviation 1: all at once, by channel or value"
    ),
]
Steps = Annotated[
    list[Preprocess],
    Choice(PREPROCESSING),
    Field(description="steps that the inputs go through after `standardize`, fitted to the training part"),
]
Folds = Annotated[
    Annotated[int, Field(ge=2)] | Literal["leave_one_out"] | None,
    Field(
        description="equal parts of what `test` leaves, for cross-validation; leave_one_out has one example a part"
    ),
]
Fold = Annotated[PositiveInt | None, Field(description="which of the `folds` is held out for validation, from 1 on")]


BY_GROUP = (
    "Of a `table`, `split: {by: COLUMN}` reads the parts from a column, and `split: {group: COLUMN}` keeps groups "
    "together. Other sources draw parts (`split: random`) or cut them in the order of the examples (`split: order`)."
)


class Pool(Dataset):
    """A source with one pool of examples, which is split into disjoint parts.

    With `folds: 5` and `fold: 1` to 5, each example that `test` leaves is in one validation part and in four training
    parts; the split of a seed is the same for every `fold`. `split: order` splits in the order of the examples, such
    as rows by time: the training part comes first, then `valid` and `test`; folds are contiguous. Errors: fractions
    above 1 in sum; more examples than there are; a requested part that is empty.
    """

    field_hints: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("group", "groups", "group_by", "split_by", "split_column", "by_group"), BY_GROUP),
        **dict.fromkeys(("normalize", "normalise", "normalization", "scaler"), "Did you mean `standardize`?"),
    }

    train: TrainPart = None
    valid: ValidPart = None
    test: TestPart = None
    split: Order = "random"
    stratify: Stratify = False
    seed: SplitSeed = 0
    standardize: Standardize = "none"
    preprocess: Steps = Field([])
    folds: Folds = None
    fold: Fold = None
    label_noise: LabelNoiseField = None
    labelled: LabelledField = None

    @model_validator(mode="after")
    def _one_way_to_validate(self) -> Self:
        if (self.folds is None) != (self.fold is None):
            present, absent = ("fold", "folds") if self.fold else ("folds", "fold")
            raise ValueError(f"`{present}` stands without `{absent}`: write `folds: 5` and `fold: 1`, then 2 to 5")
        for name in ("train", "valid"):
            if self.folds and name in self.model_fields_set and (part := getattr(self, name)) is not None:
                raise ValueError(f"`folds` share out what `test` leaves, and `{name}` asks for {part:g}: drop one")
        if isinstance(self.folds, int) and self.fold and self.fold > self.folds:
            raise ValueError(f"`fold` {self.fold} of {self.folds} `folds`: give 1 to {self.folds}")
        return self

    @model_validator(mode="after")
    def _nothing_to_draw(self) -> Self:
        if self.split == "order" and self.stratify and "stratify" in self.model_fields_set:
            raise ValueError(
                "`stratify` draws by class, and `split: order` takes the examples as they lie: keep one of the two"
            )
        if self.split == "order" and "seed" in self.model_fields_set:
            raise ValueError("`seed` is of the draw, and `split: order` draws nothing: leave one of the two out")
        return self

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

    def part_sizes(self, total: int) -> tuple[int, int, int]:
        """Return the sizes of train, valid and test for `total` examples. DataError where they do not fit."""
        if self.folds:
            *folds, test = self.part_sizes_of_folds(total)
            assert self.fold is not None
            return sum(folds) - folds[self.fold - 1], folds[self.fold - 1], test
        held = [part_size(part, total, name) for name, part in self._parts()[1:]]
        shared_out = self._fractions() > 1 - 1e-9 and not any(
            isinstance(part, int) and part for _, part in self._parts()
        )
        if self.train is None or shared_out:  # fractions that make up the whole: what rounding leaves is trained on
            wanted = [max(total - sum(held), 0), *held]
        else:
            wanted = [part_size(self.train, total, "train"), *held]
        self._check(wanted, total)
        train, valid, test = wanted
        return train, valid, test

    def rows(self, y: Labels) -> list[Indices]:
        """Return the indices of the examples in train, valid and test, for targets `y` (n, ...)."""
        if not self.folds:
            return self._cut(self.part_sizes(len(y)), y)
        *folds, test = self._cut(self.part_sizes_of_folds(len(y)), y)
        assert self.fold is not None
        valid = folds.pop(self.fold - 1)
        return [np.concatenate(folds), valid, test]

    def _cut(self, counts: Sequence[int], y: Labels) -> list[Indices]:
        if self.split == "order":
            return np.split(np.arange(len(y)), np.cumsum(counts))[: len(counts)]
        return random_parts(counts, np.asarray(y) if self.stratify else None, len(y), self.seed)

    def split_pool(self, x: Any, y: Any) -> list[Split | None]:
        """Split inputs and targets into train, valid and test; None for an empty part."""
        return self.split_fields(Split(x, y))

    def split_fields(self, pool: Split) -> list[Split | None]:
        """Split all fields of a pool into train, valid and test; None for an empty part."""
        return [pool.take(rows) if len(rows) else None for rows in self.rows(pool.y)]

    def facts_of(
        self, shape: Shape, classes: int | None = None, target: Shape | None = None, examples: int | None = None
    ) -> Facts:
        """Return the facts for raw inputs of `shape`, after preprocessing; `examples` are those to train on."""
        return Facts(shape_after(self.preprocess, shape), classes, target, examples=examples)

    def assembled(
        self,
        parts: Sequence[Split | None],
        source: str,
        class_names: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        fields: Mapping[str, DataField] | None = None,
    ) -> Sets:
        """Preprocess the raw parts and return the data set; `fields` describes them where there are several."""
        sets = assemble(parts, self.standardize, source, class_names, self.preprocess, fields)
        return with_label_noise(replace(sets, notes=(*notes, *sets.notes)), self)

    def part_sizes_of_folds(self, total: int) -> list[int]:
        """Return the size of each fold, and that of the test part last."""
        test = part_size(self.test, total, "test")
        rest = total - test
        folds = rest if self.folds == "leave_one_out" else self.folds
        assert isinstance(folds, int)
        assert self.fold is not None
        if rest < 2 or folds > rest:
            left = f"{total:,} examples" if not test else f"{max(rest, 0):,} examples, which `test` {test:,} leaves"
            raise DataError(f"`folds` {self.folds} of {left}: none may be empty", hint="Ask for fewer folds.")
        if self.fold > folds:
            raise DataError(f"`fold` {self.fold:,} of {folds:,} folds", hint=f"Give 1 to {folds:,}.")
        # Sizes differ by one at most and depend on the total alone, so that every `fold` of a seed has the same parts
        return [b - a for a, b in pairwise(i * rest // folds for i in range(folds + 1))] + [test]

    def _parts(self) -> list[tuple[str, float | int | None]]:
        return [("train", self.train), ("valid", None if self.folds else self.valid), ("test", self.test)]

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


def part_size(part: float | int | None, total: int, name: str) -> int:
    """Return the number of examples in a part; fractions are rounded down. DataError for a fraction that gives
    none.
    """
    if part is None or isinstance(part, int):
        return part or 0
    count = rounded_down(part, total)
    if not count:
        raise DataError(
            f"`{name}` {part:g} of {total:,} examples is less than one",
            hint=f"Give a fraction above {1 / total:.2g}, or a count." if total else "",
        )
    return count


def random_parts(counts: Sequence[int], y: Labels | None, total: int, seed: int | Sequence[int]) -> list[Indices]:
    """Draw disjoint rows in random order for each count; with classes `y`, in the proportions of the classes."""
    rng = np.random.default_rng(seed)
    if y is None:
        return np.split(rng.permutation(total), np.cumsum(counts))[: len(counts)]
    _, sizes = np.unique(y, return_counts=True)
    members = np.split(np.argsort(y, kind="stable"), np.cumsum(sizes)[:-1])
    table = stratified_table([*counts, total - sum(counts)], sizes.tolist())
    pieces = [np.split(rng.permutation(rows), np.cumsum(row)[:-1]) for rows, row in zip(members, table, strict=True)]
    return [rng.permutation(np.concatenate([piece[part] for piece in pieces])) for part in range(len(counts))]


def stratified_table(parts: Sequence[int], classes: Sequence[int]) -> list[list[int]]:
    """Distribute the examples of each class (rows) to parts (columns), with exact row and column sums.

    Each cell is within one of its proportional share. Shares are rounded down, then each class gives its remaining
    examples to the parts that miss most. Some rounding of a table keeps all sums, so by Gale and Ryser 1957 this
    greedy one does. `parts` and `classes` have equal sums.
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


def assemble(
    parts: Sequence[Split | None],
    standardize: str,
    source: str,
    class_names: tuple[str, ...] = (),
    preprocess: Sequence[Preprocess] = (),
    fields: Mapping[str, DataField] | None = None,
    preprocess_of: Mapping[str, Sequence[Preprocess]] = MappingProxyType({}),
) -> Sets:
    """Return the data set of raw train, valid and test parts, preprocessed; `fields` describes several.

    `preprocess_of` are the steps of further inputs, by name, where they differ.

    Every input of floats goes through the steps by itself; integers and truth values stay as they are. Inputs in
    double precision stay so until the last step, and become float32 at the end.
    """
    first, *held = parts
    if first is None:
        raise DataError("no examples are left to train on")
    todo, inputs = [*_standardizing(standardize), *preprocess], with_role(fields or {}, "input")
    floats = [name for name, one in inputs.items() if one.shape.dtype == "float"]
    main_is_float = not inputs or next(iter(inputs)) in floats
    steps, x = fit_steps(todo, first.x) if main_is_float else ([], first.x)
    further = {name: preprocess_of.get(name, todo) for name in floats if name in first.more}
    fitted = {name: fit_steps(of, first.more[name], name) for name, of in further.items()}
    steps_of = {name: tuple(done) for name, (done, _) in fitted.items()}
    more = {**first.more, **{name: as_float32(values) for name, (_, values) in fitted.items()}}
    train = replace(first, x=as_float32(x) if main_is_float else x, more=more)
    valid, test = (part and _prepared(part, steps if main_is_float else None, steps_of) for part in held)
    notes = () if steps else _precision_note(first.x)
    sets = Sets(train, valid, test, digest((train, valid, test)), source, class_names, tuple(steps), notes)
    return replace(sets, fields=dict(fields or {}), preprocess_more=steps_of)


def _precision_note(x: Any) -> tuple[str, ...]:
    """Return a note where different inputs are equal in single precision; the first examples stand for all."""
    if x.dtype != np.float64 or not (found := lost_distinctions(next(chunks(x)).reshape(-1, prod(x.shape[1:])))):
        return ()
    place, there, left = found[0]
    some = f"{plural(len(found), 'input value')} of {prod(x.shape[1:]):,} cannot be told apart in 32 bits"
    figures = f"number {place} has {there:,} different values, and {left:,} of them are left"
    return (f"{some}: {figures}. `standardize: feature` takes the mean off before.",)


def standardized(parts: Sequence[Split | None], how: str) -> list[Split | None]:
    """Standardise all parts with the mean and standard deviation of the first, the training part.

    `how`: "all" takes one mean for all values, "channel" one per entry of the first axis, "feature" one per input
    value. Constant inputs are divided by 1.
    """
    if (first := parts[0]) is None:
        return list(parts)
    steps, _ = fit_steps(_standardizing(how), first.x)
    return [part and _prepared(part, steps) for part in parts]


def _standardizing(how: str) -> list[Preprocess]:
    return [] if how == "none" else [PREPROCESSING["standardize"].model_validate({"per": how})]


def _prepared(
    part: Split, steps: Sequence[Fitted] | None, steps_of: Mapping[str, Sequence[Fitted]] = MappingProxyType({})
) -> Split:
    """Apply the steps of the main input, None for one that is not of floats, and those of further inputs by name."""
    x = part.x if steps is None else as_float32(applied(steps, part.x))
    more = {name: as_float32(applied(of, part.more[name])) for name, of in steps_of.items()}
    return replace(part, x=x, more={**part.more, **more})


def digest(parts: Sequence[Split | None]) -> str:
    """Return the SHA-256 over dtype, shape and little-endian bytes of the fields of every part, in order; further
    fields with their names.
    """
    found = hashlib.sha256()
    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        arrays: list[tuple[str, Any]] = [("", part.x), ("", part.y), *part.more.items()] if part else []
        found.update(f"{name} {len(arrays)}\n".encode())
        for field, array in arrays:
            found.update(field.encode())
            # Little-endian, so that the digest is the same on every machine
            dtype = array.dtype.newbyteorder("<")
            found.update(f"{dtype.str} {array.shape}\n".encode())
            for piece in chunks(array) if isinstance(array, Streamed) else [array]:
                found.update(np.ascontiguousarray(piece, dtype).data)
    return found.hexdigest()
