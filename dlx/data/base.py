"""The base class of data sets: `facts` (shapes, known before loading) and `load` (NumPy arrays)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from ..errors import DataError, Problem
from ..registry import FAMILIES, Declared, Registry, family
from ..shapes import Shape
from .memory_bounds import guarded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .feed import Feed
    from .input_record import InputRecord
    from .new_inputs import NewInputs
    from .preprocess import Fitted
    from .python_inputs import Columns, FieldInputs
    from .splits import Indices

    Floats = npt.NDArray[np.float32]
    Labels = npt.NDArray[Any]
    Values = npt.NDArray[Any]
    """Inputs in single or double precision."""


@dataclass(frozen=True)
class ColumnUse:
    """The use of a column of a table, or of an array of a file: its role, its number of inputs, and the reason."""

    name: str
    taken_for: str
    inputs: int
    because: str
    of_field: str = field(default="", compare=False)
    """The field that it is, or is a part of; empty for one that is left out."""

    def as_json(self) -> dict[str, Any]:
        """Return the name, the use, the number of inputs and the reason as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "of_field"}


@dataclass(frozen=True)
class ColumnValues:
    """Values of a column of a table, of all rows of its file, before they are encoded.

    Attributes:
        missing: rows without a value.
        distinct: number of different values.
        least, mean, greatest: of numbers; of dates the first and the last as ISO 8601; else None.
        most_frequent: of texts, Booleans and dates, values with their counts, the most frequent first.
    """

    name: str
    missing: int
    distinct: int
    least: float | str | None = None
    mean: float | None = None
    greatest: float | str | None = None
    most_frequent: tuple[tuple[str, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; those that it has none of are left out."""
        found = {**asdict(self), "most_frequent": [list(pair) for pair in self.most_frequent]}
        return {name: value for name, value in found.items() if name != "name" and value not in (None, [])}


@dataclass(frozen=True)
class TextFacts:
    """What the integers of a field are that is a text: tokens, `<padding>` behind its end (-100 in targets).

    Attributes:
        names: the tokens of the vocabulary, the special ones first.
        shifted: the target whose tokens an input has one place later, behind `<begin>`; empty for other fields.
    """

    names: tuple[str, ...]
    shifted: str = ""

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return len(self.names)


Role = Literal["input", "target", "weight", "id", "scale"]


@dataclass(frozen=True)
class Field:
    """A named tensor of a batch.

    Attributes:
        shape: shape of one example; () for a class number. Its dtype is "float", "int" or "bool".
        role: "input" for what a network takes, "target" for what an objective learns, "weight" for the weight of each
            example in the loss, "id" for its name: ids stay on the host, and come back in predictions; "scale" for
            mean, deviation and naive error of the series of each example, by which a forecast is measured.
        classes: number of classes where the values are class numbers, or of what integers to look up are.
        names: names of the classes, where known.
    """

    shape: Shape
    role: Role = "input"
    classes: int | None = None
    names: tuple[str, ...] = ()
    text: TextFacts | None = None
    """What it is as a text; None where it is none."""


@dataclass(frozen=True)
class Facts:
    """Shapes of the inputs and targets of a data set, which a network must fit.

    Attributes:
        input: shape of one input.
        classes: number of classes; with `target`, each position of a target has a class.
        target: shape of one target; None for one class number per example.
    """

    input: Shape
    classes: int | None = None
    target: Shape | None = None
    columns: tuple[ColumnUse, ...] = ()
    """The use of each column or array of the source, where it has some."""
    warnings: tuple[Problem, ...] = ()
    """Warnings about how the source was read."""
    more: Mapping[str, Field] = field(default_factory=dict)
    """Further fields of a batch by name: more inputs and targets, weights, ids."""
    input_name: str = "input"
    """Name of the field `input`, the main one of several inputs: augmentations change it."""
    target_name: str = "target"
    """Name of the field that `target` and `classes` describe, the first of several targets."""
    class_names: tuple[str, ...] = ()
    """Names of its classes, where they are known before the data is loaded."""
    vocabulary: int | None = None
    """Number of tokens of the input, where it is a text."""
    texts: Mapping[str, TextFacts] = field(default_factory=dict)
    """The fields that are texts, padded to one length, by name."""
    labels: bool = False
    """Whether the values of the target are said to be several labels of 0 and 1."""
    examples: int | None = None
    """Number of training examples, where it is known before they are loaded."""

    def __post_init__(self) -> None:
        """Take plain tuples for shapes."""
        for name in ("input", "target"):
            shape = getattr(self, name)
            if shape is not None and not isinstance(shape, Shape):
                object.__setattr__(self, name, Shape(shape))

    @property
    def fields(self) -> Mapping[str, Field]:
        """All fields of a batch by name: the main input, the first target where there is one, and `more`."""
        found = {self.input_name: Field(self.input, classes=self.vocabulary)}
        if self.classes is not None:
            shape = Shape(self.target or (), "int")
            found[self.target_name] = Field(shape, "target", self.classes, self.class_names)
        elif self.target is not None:
            found[self.target_name] = Field(self.target, "target")
        found |= dict(self.more)
        return found | {name: replace(found[name], text=text) for name, text in self.texts.items()}

    @property
    def inputs(self) -> Mapping[str, Field]:
        """The fields that networks take, by name."""
        return with_role(self.fields, "input")

    @property
    def targets(self) -> Mapping[str, Field]:
        """The fields that objectives learn, by name."""
        return with_role(self.fields, "target")

    def of_target(self, name: str) -> Facts:
        """Return the facts of data that has the target `name` alone, as an objective of one target checks them."""
        if name == self.target_name:
            return self
        one = self.fields[name]
        shape = one.shape if one.classes is None or len(one.shape) else None
        texts = {n: text for n, text in self.texts.items() if n in (self.input_name, name)}
        return replace(
            self, classes=one.classes, target=shape, target_name=name, more={}, class_names=one.names, texts=texts
        )


def facts_of_fields(
    fields: Mapping[str, Field],
    columns: tuple[ColumnUse, ...] = (),
    warnings: tuple[Problem, ...] = (),
    examples: int | None = None,
) -> Facts:
    """Return the facts of named fields: the first input is the main one, the first target the one of `target`."""
    inputs, targets = list(with_role(fields, "input")), list(with_role(fields, "target"))
    first = fields[targets[0]] if targets else Field(Shape(), "target")
    shape = first.shape if targets and (first.classes is None or len(first.shape)) else None
    more = {name: one for name, one in fields.items() if name not in (inputs[0], *targets[:1])}
    main = fields[inputs[0]]
    of_target = targets[0] if targets else "target"
    texts = {name: one.text for name, one in fields.items() if one.text is not None}
    return Facts(
        main.shape,
        first.classes,
        shape,
        columns,
        warnings,
        more,
        inputs[0],
        of_target,
        first.names,
        main.text.vocabulary if main.text is not None else None,
        texts,
        examples=examples,
    )


def with_role(fields: Mapping[str, Field], role: Role) -> dict[str, Field]:
    """Return the fields of a role, by name."""
    return {name: one for name, one in fields.items() if one.role == role}


@dataclass(frozen=True)
class Split:
    """One part of a data set: train, valid or test.

    Attributes:
        x: inputs (n, *shape) as float32, of several the main ones; integers in their own width, or `Windows` of a
            text.
        y: targets, of several the first: int64 class numbers (n,), float32 values (n, *target), or int64 class
            numbers of positions (n, *target); of data without labels float32 (n, 0), which no field names.

    In a data set that streams, inputs and targets of values are `Streamed` arrays: they support slices and integer
    indices only. `in_memory` loads some of them.
    """

    x: Floats
    y: Labels
    rows: Indices | None = None
    """Index of each example in the pool that was split, from 0 on; None where there is no pool."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields (n, ...) by name: more inputs and targets, weights (n,) as float32, ids (n,) of any type."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def streams(self) -> bool:
        """Whether the inputs stay on disk."""
        from .streaming import Streamed

        x: Any = self.x
        return isinstance(x, Streamed)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The arrays of all fields, the main input and the first target before the others."""
        return (self.x, self.y, *self.more.values())

    def take(self, rows: Indices | slice) -> Split:
        """Select examples of every field; those on disk stay there where they are selected by index."""
        from .streaming import take_rows

        def some(array: Any) -> Any:
            return array[rows] if isinstance(rows, slice) else take_rows(array, rows)

        more = {name: some(array) for name, array in self.more.items()}
        index = self.rows[rows] if self.rows is not None else None if isinstance(rows, slice) else rows
        return Split(some(self.x), some(self.y), index, more)

    def in_memory(self, most: int) -> Split:
        """Return the part in memory; of one that streams, the first `most` bytes."""
        from .streaming import Streamed

        streamed = [array for array in self.arrays if isinstance(array, Streamed)]
        if not streamed:
            return self
        return self.take(slice(max(2, most // sum(4 * prod(array.example_shape) for array in streamed))))


@dataclass(frozen=True)
class Sets:
    """The disjoint parts of a data set, as loaded and preprocessed.

    Attributes:
        train, valid, test: the parts; None for one that does not exist.
        digest: SHA-256 of their bytes.
        source: origin of the data, in words.
        class_names: names of the classes, where known.
        preprocess: the preprocessing steps, fitted to the training part.
    """

    train: Split
    valid: Split | None
    test: Split | None
    digest: str
    source: str
    class_names: tuple[str, ...] = ()
    preprocess: tuple[Fitted, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes for the start of a training, such as the place of the cache of decoded pictures."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """JSON values needed to read later inputs, such as the categories of a table."""
    fields: Mapping[str, Field] = field(default_factory=dict)
    """The fields of each part by name, the main input and the first target before the others of their role; empty
    where they are one `input` and one `target`."""
    preprocess_more: Mapping[str, tuple[Fitted, ...]] = field(default_factory=dict)
    """The preprocessing steps of further inputs, by name."""
    series: tuple[Any, ...] = ()
    """The training part of each series (time, values) as a whole, scaled as the inputs are, where there are some."""
    label_noise: Mapping[str, Any] = field(default_factory=dict)
    """The noise on the training targets as JSON, with the number of targets that it changed; empty without any."""

    def named(self, role: Role) -> tuple[str, ...]:
        """Return the names of the fields of a role, the main one first."""
        if self.fields:
            return tuple(with_role(self.fields, role))
        return {"input": ("input",), "target": ("target",)}.get(role, ())

    def values(self, part: Split, name: str) -> Any:
        """Return the array of a field in one of the parts. KeyError where there is none of this name."""
        if name in part.more:
            return part.more[name]
        return part.x if name == self.named("input")[0] else dict.fromkeys(self.named("target")[:1], part.y)[name]

    def parts(self) -> dict[str, Split]:
        """Return the parts that there are, by name."""
        every = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part for name, part in every.items() if part is not None and len(part)}

    @property
    def names_of_classes(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes of each target; empty where they have none."""
        found = {name: self.fields[name].names if name in self.fields else () for name in self.named("target")}
        first = next(iter(found), None)
        return found if first is None else found | {first: self.class_names or found[first]}

    def in_memory(self, most: int) -> Sets:
        """Return the parts in memory; of each one that streams, the first `most` bytes."""
        parts = (part and part.in_memory(most) for part in (self.valid, self.test))
        valid, test = parts
        return replace(self, train=self.train.in_memory(most), valid=valid, test=test)


DATASETS: Registry[Dataset] = FAMILIES["data"]


class Codes(Protocol):
    """Classes that stand for values, of which the next input is made."""

    def encoded(self, values: Any) -> Labels:
        """Return the classes of values."""

    def decoded(self, classes: Labels) -> Any:
        """Return the values of classes."""


@family(DATASETS)
class Dataset(Declared):
    """Base class of all data sets.

    A subclass has a `kind`, pydantic fields, `facts` and `load`. Defining the class registers it.
    """

    required = ("facts", "load")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.required:
            if name in vars(cls):
                setattr(cls, name, guarded(vars(cls)[name]))

    source: ClassVar[str] = ""
    bytes_per_value: ClassVar[int] = 8
    """Bytes of a value while generated data is drawn."""
    loads_in_numpy: ClassVar[bool] = False
    """Whether `load` spends its time in NumPy and in files, without Python's lock, and imports no package that looks
    for torch: then torch is imported beside it.
    """
    targets_are_next_inputs: ClassVar[bool] = False
    """Whether the target at each step is the input of the next: a network that looks ahead would copy it."""

    def facts(self) -> Facts:
        """Return the shapes of inputs and targets. Headers of files may be read, but no data is loaded.

        Raises:
            DataError: a file is missing or damaged, or its parts do not fit.
        """
        raise TypeError(f"{type(self).__name__} has no facts()")

    def feed(self, part: Any, train: Any) -> Feed | None:
        """Return a feed of its own for the training part on the device; None for independent examples in random
        order.
        """
        return None

    def shape_of_inputs(self, inputs: Path | Columns | Values, record: InputRecord) -> Shape:
        """Return the shape of one of some new inputs, before preprocessing: pictures may have another size than
        those of the training.
        """
        from .new_inputs import shape_of_inputs

        return record.raw if record.raw_more else shape_of_inputs(inputs, record.raw)

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        """Read inputs that come after training from a file or folder, without preprocessing. DataError where
        that fails.
        """
        from .new_inputs import by_name, read

        if record.raw_more:
            main = record.facts.input_name
            return by_name(path, {main: record.raw, **record.raw_more}, main)
        return read(path, record.raw)

    def from_memory(self, inputs: Columns | Values, record: InputRecord) -> NewInputs:
        """Return inputs from memory that come after training, without preprocessing. DataError for another shape."""
        from .python_inputs import array_of

        if record.raw_more:
            several = ", ".join((record.facts.input_name, *record.raw_more))
            message = f"the network takes the inputs {several}, and here is one array"
            raise DataError(message, hint="Give a mapping of arrays by these names, or a file of them, .npz.")
        return array_of(inputs, record.raw)

    def from_fields(self, inputs: FieldInputs, record: InputRecord) -> NewInputs:
        """Return several inputs from memory by the names of their fields. DataError where they are not those."""
        from .new_inputs import of_fields
        from .python_inputs import INPUTS

        if record.raw_more and not record.columns:
            main = record.facts.input_name
            return of_fields(inputs.arrays, {main: record.raw, **record.raw_more}, main, INPUTS)
        names = ", ".join(f"`{name}`" for name in inputs.arrays)
        message = f"the inputs are arrays by name, {names}, and the data `{self.kind}` takes no fields of arrays"
        raise DataError(message, hint="Give an array, or for a table its columns.")

    def column_values(self) -> tuple[ColumnValues, ...]:
        """Return what the columns in use hold, before they are encoded; nothing for a source without columns."""
        return ()

    def cells(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return the cells in use of some rows of the pool as the source has them, a mapping of columns for each;
        nothing for a source without columns.
        """
        return []

    def text_of(self, values: Any) -> str | None:
        """Return the text that the values of a field of one example stand for; None for data that is no text."""
        return None

    def codes(self) -> Codes | None:
        """Return what values the classes at each step stand for, where they are the next inputs; None for others."""
        return None

    def source_columns(self) -> list[str]:
        """Return the names of the columns of the source, inputs of the network or not; none where it has none."""
        return []

    def source_column(self, name: str, sets: Sets) -> dict[str, Sequence[Any]]:
        """Return a column of `source_columns` by part, a value for each example of the parts of `sets`."""
        raise TypeError(f"{type(self).__name__} has no source_column()")

    def load(self) -> Sets:
        """Load the arrays. DataError where a file is missing, truncated or of the wrong length."""
        raise TypeError(f"{type(self).__name__} has no load()")
